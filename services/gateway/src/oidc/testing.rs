//! A realm for tests with its own keys, published and used as by Keycloak.

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

/// A key pair of a realm.
pub(crate) struct SigningKey {
    id: &'static str,
    pub(crate) key: EncodingKey,
    pub(crate) public: Jwk,
}

impl SigningKey {
    pub(crate) fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let wrapped = pair.as_der().unwrap();
        // The key itself (PKCS#1) follows the 26 bytes of the PKCS#8 header.
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

/// The endpoints of a realm, and a record of their requests.
pub(crate) struct TestRealm {
    /// The base URL.
    pub(crate) base: String,
    /// The response of the key endpoint.
    pub(crate) published_keys: Arc<Mutex<Value>>,
    /// The response of the token endpoint; `None` is an error response.
    pub(crate) token_response: Arc<Mutex<Option<Value>>>,
    /// The form of the last request to the token endpoint.
    pub(crate) last_token_request: Arc<Mutex<HashMap<String, String>>>,
    key_requests: Arc<AtomicUsize>,
    /// The task of the server.
    pub(crate) server: JoinHandle<()>,
}

impl TestRealm {
    pub(crate) async fn with_keys(signers: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let published_keys = Arc::<Mutex<Value>>::default();
        let token_response = Arc::<Mutex<Option<Value>>>::default();
        let last_token_request = Arc::<Mutex<HashMap<String, String>>>::default();
        let key_requests = Arc::<AtomicUsize>::default();
        let (keys, count) = (Arc::clone(&published_keys), Arc::clone(&key_requests));
        let certs = move || {
            count.fetch_add(1, Ordering::Relaxed);
            let keys = keys.lock().unwrap().clone();
            async move { Json(keys) }
        };
        let (response, form) = (Arc::clone(&token_response), Arc::clone(&last_token_request));
        let token = move |body: String| {
            *form.lock().unwrap() = url::form_urlencoded::parse(body.as_bytes())
                .into_owned()
                .collect();
            let response = response.lock().unwrap().clone();
            async move {
                match response {
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
            published_keys,
            token_response,
            last_token_request,
            key_requests,
            server,
        };
        realm.publish_keys(signers);
        realm
    }

    /// Publishes these keys in place of the current ones.
    pub(crate) fn publish_keys(&self, signers: &[&SigningKey]) {
        let mut keys: Vec<Value> = signers
            .iter()
            .map(|signer| serde_json::to_value(&signer.public).unwrap())
            .collect();
        // As Keycloak does: an encryption key, and a key of an unsupported type.
        keys.push(json!({
            "kid": "enc", "kty": "RSA", "alg": "RSA-OAEP", "use": "enc", "n": "AQAB", "e": "AQAB",
        }));
        keys.push(json!({"kid": "new", "kty": "LATTICE", "alg": "ML-DSA-65"}));
        *self.published_keys.lock().unwrap() = json!({ "keys": keys });
    }

    pub(crate) fn keys(&self, intervals: FetchIntervals) -> RealmKeys {
        let url = format!(
            "{}/realms/scranton-branch/protocol/openid-connect/certs",
            self.base
        );
        RealmKeys::new(crate::downstream::build_client().unwrap(), url, intervals)
    }

    /// Returns the number of requests to the key endpoint.
    pub(crate) fn key_request_count(&self) -> usize {
        self.key_requests.load(Ordering::Relaxed)
    }
}

/// Returns the claims of an access token of Keycloak with some of them replaced.
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
