//! A realm for tests: keys of its own, shown and used as Keycloak does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::keys::{FetchIntervals, RealmKeys};

/// A key of a realm, with both halves.
pub(crate) struct SigningKey {
    id: &'static str,
    pub(crate) key: EncodingKey,
    pub(crate) public: Jwk,
}

impl SigningKey {
    pub(crate) fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let wrapped = pair.as_der().unwrap();
        // The key itself (PKCS#1) follows the 26 bytes that say that it is one.
        let key = EncodingKey::from_rsa_der(&wrapped.as_ref()[26..]);
        let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
        public.common.key_id = Some(id.to_owned());
        Self { id, key, public }
    }

    fn header(&self) -> Header {
        Header {
            kid: Some(self.id.to_owned()),
            ..Header::new(Algorithm::RS256)
        }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

/// A realm's endpoints, and what they were asked.
pub(crate) struct TestRealm {
    /// Where it is.
    pub(crate) base: String,
    /// What the key endpoint answers.
    pub(crate) published_keys: Arc<Mutex<Value>>,
    /// What the token endpoint answers; it refuses while there is nothing.
    pub(crate) token_response: Arc<Mutex<Option<Value>>>,
    /// What the token endpoint was sent last.
    pub(crate) last_token_request: Arc<Mutex<HashMap<String, String>>>,
    key_requests: Arc<AtomicUsize>,
    /// The process of it.
    pub(crate) server: JoinHandle<()>,
}

impl TestRealm {
    pub(crate) async fn with_keys(signers: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shown = Arc::<Mutex<Value>>::default();
        let tokens = Arc::<Mutex<Option<Value>>>::default();
        let sent = Arc::<Mutex<HashMap<String, String>>>::default();
        let asked = Arc::<AtomicUsize>::default();
        let (keys, count) = (Arc::clone(&shown), Arc::clone(&asked));
        let certs = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let keys = keys.lock().unwrap().clone();
            async move { Json(keys) }
        };
        let (answer, form) = (Arc::clone(&tokens), Arc::clone(&sent));
        let token = move |body: String| {
            *form.lock().unwrap() = url::form_urlencoded::parse(body.as_bytes())
                .into_owned()
                .collect();
            let answer = answer.lock().unwrap().clone();
            async move {
                match answer {
                    Some(tokens) => (StatusCode::OK, Json(tokens)),
                    None => {
                        let refusal = json!({"error": "invalid_grant"});
                        (StatusCode::BAD_REQUEST, Json(refusal))
                    }
                }
            }
        };
        let protocol = "/realms/scranton-branch/protocol/openid-connect";
        let router = Router::new()
            .route(&format!("{protocol}/certs"), get(certs))
            .route(&format!("{protocol}/token"), post(token));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let realm = Self {
            base,
            published_keys: shown,
            token_response: tokens,
            last_token_request: sent,
            key_requests: asked,
            server,
        };
        realm.publish_keys(signers);
        realm
    }

    /// Shows these keys from now on.
    pub(crate) fn publish_keys(&self, signers: &[&SigningKey]) {
        let mut keys: Vec<Value> = signers
            .iter()
            .map(|signer| serde_json::to_value(&signer.public).unwrap())
            .collect();
        // As Keycloak does: a key for something else, and one of tomorrow.
        keys.push(json!({
            "kid": "enc", "kty": "RSA", "alg": "RSA-OAEP", "use": "enc", "n": "AQAB", "e": "AQAB",
        }));
        keys.push(json!({"kid": "new", "kty": "LATTICE", "alg": "ML-DSA-65"}));
        *self.published_keys.lock().unwrap() = json!({ "keys": keys });
    }

    pub(crate) fn keys(&self, pace: FetchIntervals) -> RealmKeys {
        let url = format!(
            "{}/realms/scranton-branch/protocol/openid-connect/certs",
            self.base
        );
        RealmKeys::new(crate::downstream::build_client().unwrap(), url, pace)
    }

    /// How often it was asked for keys.
    pub(crate) fn key_request_count(&self) -> usize {
        self.key_requests.load(Ordering::Relaxed)
    }
}

/// What Keycloak says in an access token, with some of it changed.
pub(crate) fn access_claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "http://localhost:8080/realms/scranton-branch",
        "exp": get_current_timestamp() + 300,
        "typ": "Bearer",
        "azp": "warehouse-mobile",
        "aud": "account",
        "sub": "8d2f",
        "preferred_username": "dphilbin",
        "name": "Darryl Philbin",
        "realm_access": {"roles": ["warehouse-operator"]},
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}
