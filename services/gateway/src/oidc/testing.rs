//! A realm for tests with its own keys, published and used as by Keycloak.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
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
    /// The header `Host` of the last request to the token or the userinfo endpoint.
    pub(crate) last_host: Arc<Mutex<String>>,
    /// The status of the token endpoint if it refuses, and the description of the error.
    pub(crate) token_refusal: Arc<Mutex<(StatusCode, &'static str)>>,
    /// The status of the userinfo endpoint.
    pub(crate) userinfo_status: Arc<Mutex<StatusCode>>,
    /// The forms of the requests to the logout endpoint.
    pub(crate) logout_requests: watch::Sender<Vec<HashMap<String, String>>>,
    token_requests: Arc<AtomicUsize>,
    userinfo_requests: Arc<AtomicUsize>,
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
        let last_host = Arc::<Mutex<String>>::default();
        let token_refusal = Arc::new(Mutex::new((StatusCode::BAD_REQUEST, "Code not valid")));
        let token_requests = Arc::<AtomicUsize>::default();
        let (response, form) = (Arc::clone(&token_response), Arc::clone(&last_token_request));
        let (refusal, host) = (Arc::clone(&token_refusal), Arc::clone(&last_host));
        let count = Arc::clone(&token_requests);
        let token = move |headers: HeaderMap, body: String| {
            count.fetch_add(1, Ordering::Relaxed);
            *form.lock().unwrap() = parse_form(&body);
            *host.lock().unwrap() = host_of(&headers);
            let response = response.lock().unwrap().clone();
            let (status, description) = *refusal.lock().unwrap();
            async move {
                match response {
                    Some(tokens) => (StatusCode::OK, Json(tokens)),
                    None => {
                        let refusal =
                            json!({"error": "invalid_grant", "error_description": description});
                        (status, Json(refusal))
                    }
                }
            }
        };
        let userinfo_status = Arc::new(Mutex::new(StatusCode::OK));
        let userinfo_requests = Arc::<AtomicUsize>::default();
        let (status, host) = (Arc::clone(&userinfo_status), Arc::clone(&last_host));
        let count = Arc::clone(&userinfo_requests);
        let userinfo = move |headers: HeaderMap| {
            count.fetch_add(1, Ordering::Relaxed);
            *host.lock().unwrap() = host_of(&headers);
            let status = *status.lock().unwrap();
            async move { (status, Json(json!({"error": "invalid_token"}))) }
        };
        let logout_requests = watch::Sender::new(Vec::new());
        let forms = logout_requests.clone();
        let logout = move |body: String| {
            forms.send_modify(|forms| forms.push(parse_form(&body)));
            async { StatusCode::NO_CONTENT }
        };
        let protocol = "/realms/scranton-branch/protocol/openid-connect";
        let router = Router::new()
            .route(&format!("{protocol}/certs"), get(certs))
            .route(&format!("{protocol}/token"), post(token))
            .route(&format!("{protocol}/userinfo"), get(userinfo))
            .route(&format!("{protocol}/logout"), post(logout));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let realm = Self {
            base,
            published_keys,
            token_response,
            last_token_request,
            last_host,
            token_refusal,
            userinfo_status,
            logout_requests,
            token_requests,
            userinfo_requests,
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

    /// Returns the number of requests to the token endpoint.
    pub(crate) fn token_request_count(&self) -> usize {
        self.token_requests.load(Ordering::Relaxed)
    }

    /// Returns the number of requests to the userinfo endpoint.
    pub(crate) fn userinfo_request_count(&self) -> usize {
        self.userinfo_requests.load(Ordering::Relaxed)
    }

    /// Returns the number of requests to the key endpoint.
    pub(crate) fn key_request_count(&self) -> usize {
        self.key_requests.load(Ordering::Relaxed)
    }
}

fn parse_form(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

fn host_of(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).unwrap();
    host.to_str().unwrap().to_owned()
}

/// Returns the claims of an access token of Keycloak with some of them replaced.
pub(crate) fn access_claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "http://localhost:8080/realms/scranton-branch",
        "exp": get_current_timestamp() + 300,
        "iat": get_current_timestamp(),
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
