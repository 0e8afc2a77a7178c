//! Tests of the complete gateway with a test realm and a test service, one module per kind of
//! routes.

mod apps;
mod auth;
mod authorization;
mod login;
mod loopback;
mod pages;
mod proxy;
mod reference_page;
mod router;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use dm_kit::Environment;
use dm_kit::http::{AccessGuard, HttpServer, ServiceHealth};
use dm_kit::telemetry::Metrics;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Gateway;
use crate::oidc::realm_tokens::RealmTokens;
use crate::oidc::testing::{SigningKey, TestRealm, access_claims};
use crate::sessions::UserSession;
use crate::user::User;

const SECRET: &str = "0123456789abcdef";

/// A gateway with its test realm and test service.
struct TestGateway {
    router: Router,
    gateway: Arc<Gateway>,
    realm: TestRealm,
    signer: SigningKey,
}

impl TestGateway {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a gateway with additional settings.
    async fn start_with(settings: &[(&str, &str)]) -> Self {
        let signer = SigningKey::new("one");
        let realm = TestRealm::with_keys(&[&signer]).await;
        let service = start_echo_service().await;
        let mut environment: Environment = [("KEYCLOAK_INTERNAL_BASE_URL", &realm.base)]
            .into_iter()
            .chain(
                [
                    "PROFILE_SERVICE_BASE_URL",
                    "ORDER_SERVICE_BASE_URL",
                    "INVENTORY_SERVICE_BASE_URL",
                ]
                .map(|name| (name, &service)),
            )
            // No server listens on port 1.
            .chain([("FINANCE_SERVICE_BASE_URL", &"http://127.0.0.1:1".to_owned())])
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .chain(
                settings
                    .iter()
                    .map(|&(name, value)| (name.to_owned(), value.to_owned())),
            )
            .collect();
        let stop = CancellationToken::new();
        let (gateway, parts) =
            crate::build_gateway(&mut environment, SECRET.into(), &stop).unwrap();
        let (routes, api) = parts.routes.split_for_parts();
        let server = HttpServer {
            routes,
            api,
            health: ServiceHealth::default(),
            details_style: crate::SERVICE.details_style,
            metrics: Metrics::default(),
            middleware: parts.middleware,
            guard: AccessGuard::from_env(&mut environment, crate::SERVICE.name, None),
        };
        Self {
            router: server.into_router(),
            gateway,
            realm,
            signer,
        }
    }

    async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost:8081");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(r#"{"a":  1}"#)).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.request(Method::GET, path, headers).await
    }

    /// Creates a session and returns its cookie.
    fn session_cookie(&self, user: &str, role: &str) -> String {
        let user = User {
            id: user.to_owned(),
            display_name: format!("Mx {user}"),
            roles: vec![role.to_owned()],
            groups: Vec::new(),
        };
        let session = self.gateway.sessions.create(user, None).unwrap();
        format!("dmf_session={}", session.id)
    }

    fn bearer(&self, changes: Value) -> String {
        format!("Bearer {}", self.signer.sign(&access_claims(changes)))
    }
}

/// Starts a service that returns the request as JSON, with additional headers.
async fn start_echo_service() -> String {
    let echo = async |request: Request| {
        let mut headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let line = format!("{} {}", request.method(), request.uri());
        let body = to_bytes(request.into_body(), 1 << 21).await.unwrap();
        let echoed = json!({
            "line": line,
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        });
        let extra = [
            ("set-cookie", "inner=1"),
            ("x-inner", "1"),
            ("etag", "\"inner\""),
        ];
        (StatusCode::IM_A_TEAPOT, extra, Json(echoed))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

/// Creates a session that the realm has to confirm from time to time.
fn unconfirmed_session(server: &TestGateway) -> (String, Arc<UserSession>) {
    let user = User {
        id: "dphilbin".into(),
        display_name: "Darryl Philbin".into(),
        roles: vec!["warehouse-operator".into()],
        groups: Vec::new(),
    };
    let tokens = RealmTokens::for_test(Some("first"));
    let session = server.gateway.sessions.create(user, Some(tokens)).unwrap();
    (format!("dmf_session={}", session.id), session)
}

/// Sets the response of the realm to a refresh token.
fn answer_refresh(server: &TestGateway, changes: Value) {
    let mut claims = access_claims(json!({"azp": "dunder-mifflin-gateway"}));
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    *server.realm.token_response.lock().unwrap() = Some(json!({
        "access_token": server.signer.sign(&claims),
        "refresh_token": "second",
    }));
}

/// Lets time pass without waiting. No request may be on its way: its timeout would expire.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn header_text<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

async fn body(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 21).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn message(response: Response) -> String {
    let body: Value = serde_json::from_str(&body(response).await).unwrap();
    body["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
