//! The realm's public keys, fetched when one is asked for that isn't known.

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

/// How often Keycloak is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchIntervals {
    /// The least time between two fetches: whoever sends made-up key ids can't make
    /// the gateway ask more often.
    pub min_interval: Duration,
    /// The same while there are no keys at all: Keycloak starts last, or the realm has issued
    /// no token yet and makes its first key with that.
    pub initial_interval: Duration,
    /// Older keys are fetched again, so that one that was withdrawn is not taken
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

/// How long Keycloak may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A public key of the realm.
pub(crate) struct PublicKey {
    /// The key itself.
    pub key: DecodingKey,
    /// The algorithms it is for: the token doesn't decide that.
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

/// Why there is no key.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// The realm has none of that id.
    #[error("the realm has no key with this id")]
    Unknown,
    /// The realm can't be asked, and never could.
    #[error("could not fetch the keys of the realm")]
    Unavailable,
}

/// The keys of a realm.
#[derive(Debug, Clone)]
pub(crate) struct RealmKeys(Arc<KeyCache>);

#[derive(Debug)]
struct KeyCache {
    client: reqwest::Client,
    url: String,
    intervals: FetchIntervals,
    cached: RwLock<CachedKeys>,
    /// Held while Keycloak is asked: once for all who wait.
    last_fetch: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Default)]
struct CachedKeys {
    keys: Arc<HashMap<String, Arc<PublicKey>>>,
    fetched_at: Option<Instant>,
}

impl RealmKeys {
    /// The keys at this address. None is fetched yet.
    #[must_use]
    pub(crate) fn new(client: reqwest::Client, url: String, pace: FetchIntervals) -> Self {
        Self(Arc::new(KeyCache {
            client,
            url,
            intervals: pace,
            cached: RwLock::default(),
            last_fetch: Mutex::default(),
        }))
    }

    /// The key of that id.
    ///
    /// # Errors
    /// [`KeyError`] where there is none.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<PublicKey>, KeyError> {
        let known = self.cached();
        if let Some(key) = known.keys.get(id) {
            let fresh = self.0.intervals.max_age;
            let stale = known.fetched_at.is_some_and(|at| at.elapsed() > fresh);
            if stale && self.0.last_fetch.try_lock().is_ok() {
                let keys = self.clone();
                // Nobody needs to wait for it.
                tokio::spawn(async move { keys.refresh().await });
            }
            return Ok(Arc::clone(key));
        }
        self.refresh().await;
        let known = self.cached();
        match known.keys.get(id) {
            Some(key) => Ok(Arc::clone(key)),
            None if known.fetched_at.is_some() => Err(KeyError::Unknown),
            None => Err(KeyError::Unavailable),
        }
    }

    /// Asks Keycloak unless it was asked just now. Where it is away, what is known
    /// is kept.
    async fn refresh(&self) {
        let mut asked = self.0.last_fetch.lock().await;
        let pace = if self.cached().keys.is_empty() {
            self.0.intervals.initial_interval
        } else {
            self.0.intervals.min_interval
        };
        if asked.is_some_and(|at| at.elapsed() < pace) {
            return;
        }
        match self.fetch().await {
            Ok(keys) => {
                info!(keys = keys.len(), "the keys of the realm were fetched");
                let known = CachedKeys {
                    keys: Arc::new(keys),
                    fetched_at: Some(Instant::now()),
                };
                *self
                    .0
                    .cached
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = known;
            }
            Err(error) => {
                warn!(
                    cause = error_chain(&error),
                    "could not fetch the keys of the realm"
                );
            }
        }
        *asked = Some(Instant::now());
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

/// A key set as it comes. One key that isn't understood must not spoil the others.
#[derive(Debug, Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// The keys that can verify a signature, by id.
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
    let of_kind: &[Algorithm] = match &jwk.algorithm {
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
        // A shared secret in a public key set proves nothing.
        _ => return None,
    };
    let algorithms: Vec<_> = match &jwk.common.key_algorithm {
        Some(own) => {
            let own = own.to_string().parse().ok()?;
            of_kind
                .iter()
                .copied()
                .filter(|kind| *kind == own)
                .collect()
        }
        None => of_kind.to_vec(),
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let id = jwk.common.key_id.clone()?;
    (!algorithms.is_empty()).then_some((id, PublicKey { key, algorithms }))
}
