//! Pending logins: each is stored in a cookie of the browser that began it.
//!
//! The gateway does not store pending logins, so that many of them cannot evict those of
//! other browsers. A cookie is encrypted and authenticated with a key of this process: only
//! this process can create or read it. It is valid for one state, and once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::random::RandomError;

/// The maximum number of used states that are remembered. An evicted one cannot be reused
/// either: Keycloak accepts a code once.
const MAX_USED_STATES: u64 = 10_000;

/// A login that is not completed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    /// The `state` parameter, which identifies the login.
    pub state: String,
    /// The path to which the browser is redirected after the login.
    pub return_to: String,
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    /// The expiry, in seconds since 1970.
    pub(super) until: u64,
}

/// Seals pending logins into cookies and opens them.
#[derive(Debug)]
pub(crate) struct LoginCookies {
    key: RandomizedNonceKey,
    lifetime: Duration,
    used_states: Cache<String, ()>,
}

impl LoginCookies {
    /// Creates a new key for logins with this lifetime.
    ///
    /// # Errors
    /// Returns [`RandomError`] if the system has no random bytes.
    pub(crate) fn new(lifetime: Duration) -> Result<Self, RandomError> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| RandomError)?;
        Ok(Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| RandomError)?,
            lifetime,
            used_states: Cache::builder()
                .time_to_live(lifetime)
                .max_capacity(MAX_USED_STATES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        })
    }

    /// Returns the time in which a login must be completed.
    #[must_use]
    pub(crate) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Returns the expiry of a login that begins now, in seconds since 1970.
    pub(super) fn next_expiry(&self) -> u64 {
        unix_now().saturating_add(
            self.lifetime
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(0),
        )
    }

    /// Returns the value of the cookie of a login.
    ///
    /// # Errors
    /// Returns [`RandomError`] if the system has no random bytes.
    pub(crate) fn seal(&self, login: &PendingLogin) -> Result<String, RandomError> {
        // Strings and a number always serialize.
        let mut sealed = serde_json::to_vec(login).unwrap_or_default();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .map_err(|_| RandomError)?;
        let mut value = nonce.as_ref().to_vec();
        value.extend(sealed);
        Ok(BASE64URL.encode(value))
    }

    /// Returns the login with this state from the cookies, at most once.
    #[must_use]
    pub(crate) fn redeem<'c>(
        &self,
        state: &str,
        cookies: impl Iterator<Item = &'c str>,
    ) -> Option<PendingLogin> {
        let login = cookies
            .filter_map(|cookie| self.open(cookie))
            .find(|login| login.state == state && login.until >= unix_now())?;
        // Of concurrent requests with the same cookie, only the first one succeeds:
        // `or_insert_with` runs one initializer per key, whereas `or_insert` reads and then
        // inserts, and calls the entry fresh for each request that read before the insertion.
        let entry = self.used_states.entry_by_ref(&login.state);
        entry.or_insert_with(|| ()).is_fresh().then_some(login)
    }

    fn open(&self, cookie: &str) -> Option<PendingLogin> {
        let mut bytes = BASE64URL.decode(cookie).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let json = self.key.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        serde_json::from_slice(json).ok()
    }
}

fn unix_now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn login(cookies: &LoginCookies, state: &str) -> PendingLogin {
        PendingLogin {
            state: state.into(),
            return_to: "/portal".into(),
            redirect_uri: "http://localhost:8081/x".into(),
            nonce: "n".into(),
            verifier: "v".into(),
            until: cookies.next_expiry(),
        }
    }

    fn login_cookies() -> LoginCookies {
        LoginCookies::new(Duration::from_secs(300)).unwrap()
    }

    #[test]
    fn sealed_login_is_redeemed_unchanged_and_once() {
        let cookies = login_cookies();
        let first = login(&cookies, "one");
        let values = [
            "nonsense".to_owned(),
            cookies.seal(&login(&cookies, "two")).unwrap(),
            cookies.seal(&first).unwrap(),
        ];
        let redeem = |state| cookies.redeem(state, values.iter().map(String::as_str));
        assert_eq!(redeem("three"), None);
        assert_eq!(redeem("one"), Some(first));
        assert_eq!(redeem("one"), None);
        assert!(redeem("two").is_some());
    }

    #[test]
    fn cookie_of_another_key_or_with_a_changed_byte_is_rejected() {
        let (cookies, foreign) = (login_cookies(), login_cookies());
        let value = foreign.seal(&login(&foreign, "one")).unwrap();
        assert_eq!(cookies.redeem("one", [value.as_str()].into_iter()), None);
        let value = cookies.seal(&login(&cookies, "one")).unwrap();
        for index in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let redeemed = cookies.redeem("one", [changed.as_str()].into_iter());
            // The last character may have unused bits; then the cookie is the same.
            assert!(redeemed.is_none() || index == value.len() - 1, "{index}");
        }
    }

    #[test]
    fn concurrent_redemptions_of_a_cookie_succeed_once() {
        const THREADS: usize = 4;
        let cookies = login_cookies();
        // Many rounds: a read followed by an insertion passes most single rounds.
        let values: Vec<(String, String)> = (0..500)
            .map(|round| {
                let state = format!("state-{round}");
                let value = cookies.seal(&login(&cookies, &state)).unwrap();
                (state, value)
            })
            .collect();
        let redeemed: Vec<AtomicUsize> = values.iter().map(|_| AtomicUsize::new(0)).collect();
        let round_begins = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for ((state, value), redeemed) in values.iter().zip(&redeemed) {
                        round_begins.wait();
                        let login = cookies.redeem(state, [value.as_str()].into_iter());
                        if login.is_some() {
                            redeemed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let redeemed: Vec<usize> = redeemed.into_iter().map(AtomicUsize::into_inner).collect();
        assert_eq!(redeemed, vec![1; values.len()]);
    }

    #[test]
    fn expired_login_is_rejected() {
        let cookies = login_cookies();
        let expired = PendingLogin {
            until: unix_now() - 1,
            ..login(&cookies, "one")
        };
        let value = cookies.seal(&expired).unwrap();
        assert_eq!(cookies.redeem("one", [value.as_str()].into_iter()), None);
    }
}
