//! Logins that have begun: each in a cookie of the browser that began it.
//!
//! Nothing is kept here, so that whoever begins many logins pushes out nobody's. A cookie
//! is encrypted and authenticated with a key of this process: what it holds was put in
//! here, and nobody else can read it. It is for one state, and works once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::random::RandomError;

/// How many states are known to be used at once. One that was forgotten is of no use
/// either: Keycloak takes a code once.
const MAX_USED_STATES: u64 = 10_000;

/// A login that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    /// Which login it is.
    pub state: String,
    /// Where the visitor goes on.
    pub return_to: String,
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// When it is over, in seconds since 1970.
    pub(super) until: u64,
}

/// Puts logins into cookies, and takes them out.
#[derive(Debug)]
pub(crate) struct LoginCookies {
    key: RandomizedNonceKey,
    lifetime: Duration,
    used_states: Cache<String, ()>,
}

impl LoginCookies {
    /// With a new key. A login lives so long.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn new(life: Duration) -> Result<Self, RandomError> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| RandomError)?;
        Ok(Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| RandomError)?,
            lifetime: life,
            used_states: Cache::builder()
                .time_to_live(life)
                .max_capacity(MAX_USED_STATES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        })
    }

    /// How long a login may take.
    #[must_use]
    pub(crate) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// When a login that begins now is over.
    pub(super) fn next_expiry(&self) -> u64 {
        unix_now().saturating_add(
            self.lifetime
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(0),
        )
    }

    /// The value of a login's cookie.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn seal(&self, login: &PendingLogin) -> Result<String, RandomError> {
        // Texts and a number always serialize.
        let mut sealed = serde_json::to_vec(login).unwrap_or_default();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .map_err(|_| RandomError)?;
        let mut value = nonce.as_ref().to_vec();
        value.extend(sealed);
        Ok(BASE64URL.encode(value))
    }

    /// The login of a state from these cookies, once.
    #[must_use]
    pub(crate) fn redeem<'c>(
        &self,
        state: &str,
        cookies: impl Iterator<Item = &'c str>,
    ) -> Option<PendingLogin> {
        let login = cookies
            .filter_map(|cookie| self.open(cookie))
            .find(|login| login.state == state && login.until >= unix_now())?;
        // Of many who bring it at once, one is first.
        let use_of_it = self.used_states.entry_by_ref(&login.state).or_insert(());
        use_of_it.is_fresh().then_some(login)
    }

    fn open(&self, cookie: &str) -> Option<PendingLogin> {
        let mut bytes = BASE64URL.decode(cookie).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.key.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        serde_json::from_slice(text).ok()
    }
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn login(pending: &LoginCookies, state: &str) -> PendingLogin {
        PendingLogin {
            state: state.into(),
            return_to: "/portal".into(),
            redirect_uri: "http://localhost:8081/x".into(),
            nonce: "n".into(),
            verifier: "v".into(),
            until: pending.next_expiry(),
        }
    }

    fn pending() -> LoginCookies {
        LoginCookies::new(Duration::from_secs(300)).unwrap()
    }

    #[test]
    fn a_login_comes_out_as_it_went_in_and_once() {
        let pending = pending();
        let first = login(&pending, "one");
        let cookies = [
            "nonsense".to_owned(),
            pending.seal(&login(&pending, "two")).unwrap(),
            pending.seal(&first).unwrap(),
        ];
        let take = |state| pending.redeem(state, cookies.iter().map(String::as_str));
        assert_eq!(take("three"), None);
        assert_eq!(take("one"), Some(first));
        assert_eq!(take("one"), None);
        assert!(take("two").is_some());
    }

    #[test]
    fn a_cookie_that_was_not_made_here_is_none() {
        let (here, elsewhere) = (pending(), pending());
        let value = elsewhere.seal(&login(&elsewhere, "one")).unwrap();
        assert_eq!(here.redeem("one", [value.as_str()].into_iter()), None);
        let value = here.seal(&login(&here, "one")).unwrap();
        for at in 0..value.len() {
            let mut bent = value.clone().into_bytes();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            let taken = here.redeem("one", [bent.as_str()].into_iter());
            // The last sign may hold bits that mean nothing; then it is the same cookie.
            assert!(taken.is_none() || at == value.len() - 1, "{at}");
        }
    }

    #[test]
    fn of_many_who_bring_a_cookie_at_once_one_gets_the_login() {
        let pending = pending();
        let value = pending.seal(&login(&pending, "one")).unwrap();
        let got = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if pending
                        .redeem("one", [value.as_str()].into_iter())
                        .is_some()
                    {
                        got.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(got.into_inner(), 1);
    }

    #[test]
    fn a_login_that_took_too_long_is_over() {
        let pending = pending();
        let late = PendingLogin {
            until: unix_now() - 1,
            ..login(&pending, "one")
        };
        let value = pending.seal(&late).unwrap();
        assert_eq!(pending.redeem("one", [value.as_str()].into_iter()), None);
    }
}
