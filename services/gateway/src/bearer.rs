//! Bearer tokens in use: how many streams their users have, and when the realm confirmed them last.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::oidc::realm_check::RealmCheck;
use crate::oidc::tokens::AccessClaims;
use crate::sessions::MAX_STREAMS_PER_SESSION;
use crate::user::User;

/// The maximum number of tokens, and of users with streams, that are remembered. The realm is asked
/// again about an evicted token when it is used, unless it was issued recently.
const MAX_TOKENS: u64 = 10_000;

/// The time for which an unused token is remembered.
const IDLE_TIME: Duration = Duration::from_secs(600);

/// The maximum time for which a stream with a token stays open, whatever the token says.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A verified bearer token.
pub(crate) struct BearerToken {
    /// The user.
    pub user: User,
    /// The expiry of the token.
    pub expires_at: DateTime<Utc>,
    /// The token itself.
    pub token: String,
    /// Its issuer.
    pub issuer: String,
    deadline: Instant,
    streams: Arc<Semaphore>,
    check: Arc<RealmCheck>,
    revoked: CancellationToken,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BearerToken")
            .field("user", &self.user)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl BearerToken {
    /// Returns the permits for streams of the user.
    #[must_use]
    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.streams
    }

    /// Returns the schedule of the checks at the realm.
    #[must_use]
    pub(crate) fn check(&self) -> &Arc<RealmCheck> {
        &self.check
    }

    /// Returns whether the realm no longer accepts the token.
    #[must_use]
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    /// Records that the realm no longer accepts the token.
    pub(crate) fn revoke(&self) {
        self.revoked.cancel();
    }

    /// Waits until the token expires, or the realm no longer accepts it.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.revoked.cancelled() => {}
            () = tokio::time::sleep_until(self.deadline.into()) => {}
        }
    }
}

/// The bearer tokens in use.
#[derive(Debug)]
pub(crate) struct BearerTokens {
    check_interval: Duration,
    /// The tokens by their digests.
    known: Cache<[u8; 32], Arc<BearerToken>>,
    /// The permits for streams, by user.
    streams: Cache<String, Arc<Semaphore>>,
}

impl BearerTokens {
    /// Creates an empty store. The realm is asked again about a token that it has confirmed longer
    /// than `check_interval` ago.
    #[must_use]
    pub(crate) fn new(check_interval: Duration) -> Self {
        Self {
            check_interval,
            known: Cache::builder()
                .time_to_idle(IDLE_TIME)
                .max_capacity(MAX_TOKENS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            streams: Cache::builder()
                .max_capacity(MAX_TOKENS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }

    /// Returns the entry of a token with these claims, whose signature has been verified.
    #[must_use]
    pub(crate) fn admit(&self, token: &str, claims: AccessClaims) -> Arc<BearerToken> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.known
            .get_with(digest, || Arc::new(self.create(token, claims)))
    }

    fn create(&self, token: &str, claims: AccessClaims) -> BearerToken {
        let now = unix_now();
        let until_expiry = seconds(claims.exp - now).min(MAX_LIFETIME);
        // A token is issued to a user whom the realm has just confirmed.
        let age = claims.iat.map_or(Duration::MAX, |iat| seconds(now - iat));
        let expires_at = claims.expires_at();
        let issuer = claims.issuer().to_owned();
        let user = claims.into_user();
        BearerToken {
            expires_at,
            token: token.to_owned(),
            issuer,
            deadline: Instant::now() + until_expiry,
            streams: self.streams.get_with_by_ref(&user.id, || {
                Arc::new(Semaphore::new(MAX_STREAMS_PER_SESSION))
            }),
            check: Arc::new(RealmCheck::new(self.check_interval, age)),
            revoked: CancellationToken::new(),
            user,
        }
    }
}

/// Returns the time since 1970, in seconds.
fn unix_now() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// Returns a duration. A negative one is zero, and one that is too long the longest.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::testing::access_claims;

    fn claims(changes: serde_json::Value) -> AccessClaims {
        serde_json::from_value(access_claims(changes)).unwrap()
    }

    fn tokens() -> BearerTokens {
        BearerTokens::new(Duration::from_secs(45))
    }

    #[test]
    fn one_token_has_one_entry_and_two_tokens_of_a_user_share_their_permits() {
        let tokens = tokens();
        let first = tokens.admit("one", claims(json!({})));
        assert!(Arc::ptr_eq(&first, &tokens.admit("one", claims(json!({})))));
        let second = tokens.admit("two", claims(json!({})));
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(first.streams(), second.streams()));
        let other = tokens.admit("three", claims(json!({"preferred_username": "mscott"})));
        assert!(!Arc::ptr_eq(first.streams(), other.streams()));
        assert!(!format!("{tokens:?}").contains("three"));
    }

    #[tokio::test]
    async fn token_ends_with_its_expiry_or_its_revocation() {
        let tokens = tokens();
        let expired = tokens.admit("one", claims(json!({"exp": 1})));
        expired.ended().await;
        assert_eq!(expired.expires_at.timestamp(), 1);
        let far = tokens.admit("two", claims(json!({"exp": 1e300})));
        assert!(!far.is_revoked());
        far.revoke();
        far.ended().await;
        assert!(far.is_revoked());
    }
}
