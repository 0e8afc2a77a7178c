//! The public keys of the realm, fetched when an unknown key id is requested.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::downstream::error_chain;

/// Intervals between fetches of the keys from Keycloak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchIntervals {
    /// The minimum time between two fetches, so that requests with made-up key ids cannot
    /// cause more of them.
    pub min_interval: Duration,
    /// The minimum time between two fetches while there are no keys: Keycloak starts last, or
    /// the realm creates its first key with its first token.
    pub initial_interval: Duration,
    /// The age at which keys are fetched again, so that a withdrawn key does not stay valid
    /// for ever.
    pub max_age: Duration,
}

impl Default for FetchIntervals {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_secs(10),
            initial_interval: Duration::from_secs(1),
            max_age: Duration::from_secs(600),
        }
    }
}

/// Timeout of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A public key of the realm.
pub(crate) struct PublicKey {
    /// The key itself.
    pub key: DecodingKey,
    /// The algorithms that the key permits: the token does not decide that.
    pub algorithms: Vec<Algorithm>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PublicKey")
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// The reason for which a key is not available.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// The realm has no key with this id.
    #[error("the realm has no key with this id")]
    Unknown,
    /// The keys of the realm have never been fetched.
    #[error("could not fetch the keys of the realm")]
    Unavailable,
}

/// The public keys of a realm, cached.
#[derive(Debug, Clone)]
pub(crate) struct RealmKeys(Arc<KeyCache>);

#[derive(Debug)]
struct KeyCache {
    client: reqwest::Client,
    url: String,
    intervals: FetchIntervals,
    cached: RwLock<CachedKeys>,
    /// Locked during a fetch: concurrent requests wait for one fetch.
    last_fetch: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Default)]
struct CachedKeys {
    keys: Arc<HashMap<String, Arc<PublicKey>>>,
    fetched_at: Option<Instant>,
}

impl RealmKeys {
    /// Creates an empty cache of the keys at this URL.
    #[must_use]
    pub(crate) fn new(client: reqwest::Client, url: String, intervals: FetchIntervals) -> Self {
        Self(Arc::new(KeyCache {
            client,
            url,
            intervals,
            cached: RwLock::default(),
            last_fetch: Mutex::default(),
        }))
    }

    /// Returns the key with this id.
    ///
    /// # Errors
    /// Returns [`KeyError`] if the realm has no such key, or its keys were never fetched.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<PublicKey>, KeyError> {
        let cached = self.cached();
        if let Some(key) = cached.keys.get(id) {
            let max_age = self.0.intervals.max_age;
            let stale = cached
                .fetched_at
                .is_some_and(|fetched| fetched.elapsed() > max_age);
            if stale && self.0.last_fetch.try_lock().is_ok() {
                let keys = self.clone();
                // In the background: the cached key can be used.
                tokio::spawn(async move { keys.refresh().await });
            }
            return Ok(Arc::clone(key));
        }
        self.refresh().await;
        let cached = self.cached();
        match cached.keys.get(id) {
            Some(key) => Ok(Arc::clone(key)),
            None if cached.fetched_at.is_some() => Err(KeyError::Unknown),
            None => Err(KeyError::Unavailable),
        }
    }

    /// Fetches the keys unless the last fetch was too recent. If Keycloak cannot be reached,
    /// the cached keys are kept.
    async fn refresh(&self) {
        let mut last_fetch = self.0.last_fetch.lock().await;
        let interval = if self.cached().keys.is_empty() {
            self.0.intervals.initial_interval
        } else {
            self.0.intervals.min_interval
        };
        if last_fetch.is_some_and(|last| last.elapsed() < interval) {
            return;
        }
        match self.fetch().await {
            Ok(keys) => {
                info!(
                    key_count = keys.len(),
                    "fetched the signing keys of the realm"
                );
                let fetched = CachedKeys {
                    keys: Arc::new(keys),
                    fetched_at: Some(Instant::now()),
                };
                *self
                    .0
                    .cached
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = fetched;
            }
            Err(error) => {
                warn!(
                    error.message = error_chain(&error),
                    "could not fetch the signing keys of the realm"
                );
            }
        }
        *last_fetch = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<PublicKey>>, reqwest::Error> {
        let set: KeySet = self
            .0
            .client
            .get(&self.0.url)
            .timeout(FETCH_TIMEOUT)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        Ok(set.into_signing_keys())
    }

    fn cached(&self) -> CachedKeys {
        self.0
            .cached
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A key set with unparsed keys: an unsupported key must not invalidate the others.
#[derive(Debug, Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// Returns the keys that can verify a signature, by id.
    fn into_signing_keys(self) -> HashMap<String, Arc<PublicKey>> {
        self.keys
            .into_iter()
            .filter_map(|value| signing_key(&serde_json::from_value(value).ok()?))
            .map(|(id, key)| (id, Arc::new(key)))
            .collect()
    }
}

fn signing_key(jwk: &Jwk) -> Option<(String, PublicKey)> {
    use jsonwebtoken::jwk::AlgorithmParameters as Kind;

    if matches!(&jwk.common.public_key_use, Some(purpose) if *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let supported: &[Algorithm] = match &jwk.algorithm {
        Kind::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        Kind::EllipticCurve(_) => &[Algorithm::ES256, Algorithm::ES384],
        Kind::OctetKeyPair(_) => &[Algorithm::EdDSA],
        // A shared secret in a public key set cannot prove a signature.
        _ => return None,
    };
    let algorithms: Vec<_> = match &jwk.common.key_algorithm {
        Some(declared) => {
            let declared = declared.to_string().parse().ok()?;
            supported
                .iter()
                .copied()
                .filter(|algorithm| *algorithm == declared)
                .collect()
        }
        None => supported.to_vec(),
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let id = jwk.common.key_id.clone()?;
    (!algorithms.is_empty()).then_some((id, PublicKey { key, algorithms }))
}
