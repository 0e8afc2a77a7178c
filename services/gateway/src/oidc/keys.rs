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

use crate::downstream::in_full;

/// How often Keycloak is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The least time between two fetches: whoever sends made-up key ids can't make
    /// the gateway ask more often.
    pub between: Duration,
    /// The same while there are no keys at all: Keycloak starts last, or the realm has issued
    /// no token yet and makes its first key with that.
    pub at_first: Duration,
    /// Older keys are fetched again, so that one that was withdrawn is not taken
    /// for ever.
    pub fresh: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            between: Duration::from_secs(10),
            at_first: Duration::from_secs(1),
            fresh: Duration::from_secs(600),
        }
    }
}

/// How long Keycloak may take.
const PATIENCE: Duration = Duration::from_secs(5);

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
pub(crate) struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    url: String,
    pace: Pace,
    known: RwLock<Known>,
    /// Held while Keycloak is asked: once for all who wait.
    asking: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    keys: Arc<HashMap<String, Arc<PublicKey>>>,
    fetched: Option<Instant>,
}

impl Keys {
    /// The keys at this address. None is fetched yet.
    #[must_use]
    pub(crate) fn at(client: reqwest::Client, url: String, pace: Pace) -> Self {
        Self(Arc::new(Inner {
            client,
            url,
            pace,
            known: RwLock::default(),
            asking: Mutex::default(),
        }))
    }

    /// The key of that id.
    ///
    /// # Errors
    /// [`KeyError`] where there is none.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<PublicKey>, KeyError> {
        let known = self.known();
        if let Some(key) = known.keys.get(id) {
            let fresh = self.0.pace.fresh;
            let stale = known.fetched.is_some_and(|at| at.elapsed() > fresh);
            if stale && self.0.asking.try_lock().is_ok() {
                let keys = self.clone();
                // Nobody needs to wait for it.
                tokio::spawn(async move { keys.ask().await });
            }
            return Ok(Arc::clone(key));
        }
        self.ask().await;
        let known = self.known();
        match known.keys.get(id) {
            Some(key) => Ok(Arc::clone(key)),
            None if known.fetched.is_some() => Err(KeyError::Unknown),
            None => Err(KeyError::Unavailable),
        }
    }

    /// Asks Keycloak unless it was asked just now. Where it is away, what is known
    /// is kept.
    async fn ask(&self) {
        let mut asked = self.0.asking.lock().await;
        let pace = if self.known().keys.is_empty() {
            self.0.pace.at_first
        } else {
            self.0.pace.between
        };
        if asked.is_some_and(|at| at.elapsed() < pace) {
            return;
        }
        match self.fetch().await {
            Ok(keys) => {
                info!(keys = keys.len(), "the keys of the realm were fetched");
                let known = Known {
                    keys: Arc::new(keys),
                    fetched: Some(Instant::now()),
                };
                *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known;
            }
            Err(error) => {
                warn!(
                    cause = in_full(&error),
                    "could not fetch the keys of the realm"
                );
            }
        }
        *asked = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<HashMap<String, Arc<PublicKey>>, reqwest::Error> {
        let set: Set = self
            .0
            .client
            .get(&self.0.url)
            .timeout(PATIENCE)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        Ok(set.usable())
    }

    fn known(&self) -> Known {
        self.0
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A key set as it comes. One key that isn't understood must not spoil the others.
#[derive(Debug, Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Set {
    /// The keys that can verify a signature, by id.
    fn usable(self) -> HashMap<String, Arc<PublicKey>> {
        self.keys
            .into_iter()
            .filter_map(|value| usable(&serde_json::from_value(value).ok()?))
            .map(|(id, key)| (id, Arc::new(key)))
            .collect()
    }
}

fn usable(jwk: &Jwk) -> Option<(String, PublicKey)> {
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
