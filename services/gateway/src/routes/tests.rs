//! Tests of the complete gateway with a test realm and a test service.

use std::sync::Arc;

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
use url::Url;

use crate::Gateway;
use crate::oidc::testing::{SigningKey, TestRealm, access_claims};
use crate::sessions::User;

const SECRET: &str = "0123456789abcdef";
const CALLBACK_PATH: &str = "/login/oauth2/code/keycloak";

/// A gateway with its test realm and test service.
struct TestGateway {
    router: Router,
    gateway: Arc<Gateway>,
    realm: TestRealm,
    signer: SigningKey,
}

impl TestGateway {
    async fn start() -> Self {
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
        let session = self.gateway.sessions.create(user).unwrap();
        format!("dmf_session={}", session.id)
    }

    fn bearer(&self, changes: Value) -> String {
        format!("Bearer {}", self.signer.sign(&access_claims(changes)))
    }

    /// Begins a login and returns the authorization URL and the cookie of the browser.
    async fn begin(&self, return_to: &str) -> (Url, String) {
        let path = format!("/oauth2/authorization/keycloak?returnTo={return_to}");
        let response = self.get(&path, &[]).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        let url = Url::parse(header_text(&response, "location")).unwrap();
        let cookie = header_text(&response, "set-cookie")
            .split(';')
            .next()
            .unwrap();
        (url, cookie.to_owned())
    }

    /// Sets the response of the realm to a code.
    fn answer_code(&self, nonce: &str, access: Value) {
        let party = "dunder-mifflin-gateway";
        let identity =
            access_claims(json!({"typ": "ID", "aud": party, "azp": party, "nonce": nonce}));
        let mut claims = access_claims(json!({ "azp": party }));
        for (name, value) in access.as_object().unwrap() {
            claims[name] = value.clone();
        }
        *self.realm.token_response.lock().unwrap() = Some(json!({
            "access_token": self.signer.sign(&claims),
            "id_token": self.signer.sign(&identity),
        }));
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
        let extra = [("set-cookie", "inner=1"), ("x-inner", "1")];
        (StatusCode::IM_A_TEAPOT, extra, Json(echoed))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

fn header_text<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

fn parameter(url: &Url, name: &str) -> String {
    let pair = url.query_pairs().find(|(key, _)| key == name);
    pair.unwrap().1.into_owned()
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

#[tokio::test]
async fn login_returns_to_the_target_with_a_session() {
    let server = TestGateway::start().await;
    let response = server.get("/infinity?orderId=ord_9001&x=%26", &[]).await;
    assert_eq!(
        header_text(&response, "location"),
        "/oauth2/authorization/keycloak?returnTo=%2Finfinity%3ForderId%3Dord_9001%26x%3D%2526"
    );
    let (url, browser) = server
        .begin("%2Finfinity%3ForderId%3Dord_9001%26x%3D%2526")
        .await;
    server.answer_code(
        &parameter(&url, "nonce"),
        json!({"realm_access": {"roles": ["manager"]}}),
    );

    let path = format!(
        "{CALLBACK_PATH}?state={}&code=c0de",
        parameter(&url, "state")
    );
    let response = server.get(&path, &[("cookie", &browser)]).await;
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(
        header_text(&response, "location"),
        "/infinity?orderId=ord_9001&x=%26"
    );
    assert_eq!(header_text(&response, "cache-control"), "no-store");
    let cookie = header_text(&response, "set-cookie");
    let (cookie, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=1800");

    let form = server.realm.last_token_request.lock().unwrap().clone();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "c0de");
    assert_eq!(form["redirect_uri"], parameter(&url, "redirect_uri"));
    assert_eq!(form["client_secret"], "gateway-secret-change-me");
    assert_eq!(form["code_verifier"].len(), 43);

    let response = server
        .get(header_text(&response, "location"), &[("cookie", cookie)])
        .await;
    assert_eq!(
        header_text(&response, "location"),
        "http://localhost:3001/?orderId=ord_9001&x=%26"
    );
    let me = body(server.get("/api/v1/auth/me", &[("cookie", cookie)]).await).await;
    let me: Value = serde_json::from_str(&me).unwrap();
    assert_eq!(me["displayName"], "Darryl Philbin");
    assert_eq!(
        me["apps"],
        json!(["portal", "infinity", "warehouse-mobile", "accounting"])
    );

    let again = server.get(&path, &[("cookie", &browser)]).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    assert!(body(again).await.contains("Login state expired"));

    let response = server.get("/logout", &[("cookie", cookie)]).await;
    assert_eq!(header_text(&response, "location"), "/");
    assert!(header_text(&response, "set-cookie").ends_with("; Max-Age=0"));
    let response = server.get("/api/v1/auth/me", &[("cookie", cookie)]).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(response).await, r#"{"error":"unauthenticated"}"#);
}

#[tokio::test]
async fn callback_rejects_a_login_of_another_browser_or_realm() {
    let server = TestGateway::start().await;
    for (cookie, nonce, access, status) in [
        (Some("dmf_login=another"), None, json!({}), 400),
        (None, None, json!({}), 400),
        (Some(""), Some("another"), json!({}), 401),
        (Some(""), None, json!({"azp": "warehouse-mobile"}), 401),
        (Some(""), None, json!({"sub": "somebody-else"}), 401),
        (Some(""), None, json!({"exp": 1}), 401),
    ] {
        let (url, browser) = server.begin("/portal").await;
        let login_nonce = parameter(&url, "nonce");
        server.answer_code(nonce.unwrap_or(&login_nonce), access.clone());
        let cookie = cookie.map(|cookie| if cookie.is_empty() { &browser } else { cookie });
        let headers: Vec<_> = cookie
            .map(|cookie| ("cookie", cookie))
            .into_iter()
            .collect();
        let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
        let response = server.get(&path, &headers).await;
        assert_eq!(response.status(), status, "{cookie:?} {access}");
        assert!(!response.headers().contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn callback_of_a_failed_login_returns_an_html_page() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    let state = parameter(&url, "state");
    for (query, status) in [
        (String::new(), 400),
        ("state=x".to_owned(), 400),
        ("code=x".to_owned(), 400),
        ("error=access_denied".to_owned(), 401),
        ("state=x&code=x".to_owned(), 400),
        (format!("state={state}&code=stale"), 401),
    ] {
        let response = server
            .get(&format!("{CALLBACK_PATH}?{query}"), &[("cookie", &browser)])
            .await;
        assert_eq!(response.status(), status, "{query}");
        assert!(header_text(&response, "content-type").starts_with("text/html"));
    }
}

#[tokio::test]
async fn login_in_a_second_tab_does_not_replace_the_first() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    let second = server
        .get("/oauth2/authorization/keycloak", &[("cookie", &browser)])
        .await;
    let other = header_text(&second, "set-cookie")
        .split(';')
        .next()
        .unwrap();
    assert_ne!(other, browser);
    server.answer_code(&parameter(&url, "nonce"), json!({}));
    let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
    let both = format!("{browser}; {other}");
    let response = server.get(&path, &[("cookie", &both)]).await;
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn many_pending_logins_do_not_evict_those_of_other_browsers() {
    let server = TestGateway::start().await;
    let (url, browser) = server.begin("/portal").await;
    for _ in 0..10_001 {
        server.get("/oauth2/authorization/keycloak", &[]).await;
    }
    server.answer_code(&parameter(&url, "nonce"), json!({}));
    let path = format!("{CALLBACK_PATH}?state={}&code=c", parameter(&url, "state"));
    let response = server.get(&path, &[("cookie", &browser)]).await;
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn browser_keeps_at_most_five_login_cookies() {
    let server = TestGateway::start().await;
    let mut jar: Vec<String> = Vec::new();
    for _ in 0..20 {
        let cookies = jar.join("; ");
        let response = server
            .get("/oauth2/authorization/keycloak", &[("cookie", &cookies)])
            .await;
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let pair = cookie.split(';').next().unwrap();
            let name = pair.split('=').next().unwrap();
            jar.retain(|cookie| !cookie.starts_with(name));
            if !cookie.ends_with("Max-Age=0") {
                jar.push(pair.to_owned());
            }
        }
    }
    assert_eq!(jar.len(), 5);
}

#[tokio::test]
async fn login_on_a_loopback_address_is_redirected_to_localhost() {
    let server = TestGateway::start().await;
    let path = "/oauth2/authorization/keycloak?returnTo=%2Fportal%3Fa%3D1";
    let request = |host| {
        let request = Request::builder().uri(path).header(header::HOST, host);
        server
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
    };
    for host in ["127.0.0.1:8081", "[::1]:8081"] {
        let response = request(host).await.unwrap();
        assert_eq!(
            header_text(&response, "location"),
            format!("http://localhost:8081{path}")
        );
        assert!(!response.headers().contains_key("set-cookie"));
    }
    let evil = request("evil.example:8081").await.unwrap();
    assert_eq!(evil.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn logout_from_another_site_keeps_the_session() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "manager");
    for (site, status) in [("cross-site", 200), ("same-site", 401)] {
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", site)];
        let response = server.get("/logout", &headers).await;
        assert_eq!(header_text(&response, "location"), "/");
        let me = server.get("/api/v1/auth/me", &[("cookie", &cookie)]).await;
        assert_eq!(me.status(), status, "{site}");
    }
}

#[tokio::test]
async fn session_has_at_most_eight_streams() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "manager");
    let mut open = Vec::new();
    for number in 0.. {
        let path = "/api/v1/orders/ord_1/stream";
        let response = server.get(path, &[("cookie", &cookie)]).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(number, 8);
            break;
        }
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let other = server.session_cookie("pbeesly", "manager");
    let path = "/api/v1/orders/ord_1/timeline/stream";
    for cookie in [&other, &cookie] {
        // A stream that ends releases its permit.
        open.pop();
        let response = server.get(path, &[("cookie", cookie)]).await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
}

#[tokio::test]
async fn each_response_has_the_security_headers() {
    let server = TestGateway::start().await;
    for path in [
        "/",
        "/api/v1/auth/me",
        "/nothing",
        "/portal",
        "/swagger-ui.html",
    ] {
        let response = server.get(path, &[]).await;
        assert_eq!(
            header_text(&response, "x-content-type-options"),
            "nosniff",
            "{path}"
        );
        assert_eq!(header_text(&response, "x-frame-options"), "DENY", "{path}");
        let policy = header_text(&response, "content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
    }
}

#[tokio::test]
async fn app_requires_its_role() {
    let server = TestGateway::start().await;
    for (role, path, status, app) in [
        ("sales-associate", "/portal", 302, ""),
        ("sales-associate", "/infinity", 302, ""),
        ("sales-associate", "/accounting", 403, "Accounting"),
        ("accountant", "/infinity", 403, "Sales"),
        ("accountant", "/accounting", 302, ""),
        ("manager", "/accounting", 302, ""),
        ("warehouse-operator", "/infinity", 403, "Sales"),
        ("portal-user", "/portal", 302, ""),
    ] {
        let cookie = server.session_cookie("somebody", role);
        let response = server.get(path, &[("cookie", &cookie)]).await;
        assert_eq!(response.status(), status, "{role} {path}");
        if status == 403 {
            assert!(header_text(&response, "content-type").starts_with("text/html"));
            let page = body(response).await;
            assert!(page.contains("<h1>Access denied</h1>") && page.contains(app));
        }
    }
}

#[tokio::test]
async fn forwarded_request_has_only_the_headers_of_the_contract() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "sales-associate");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let response = server
        .request(
            Method::POST,
            "/api/v1/orders?x=1",
            &[
                ("cookie", &cookie),
                ("x-trace-id", trace),
                ("x-user-id", "mscott"),
                ("authorization", "Bearer x"),
                ("idempotency-key", "k"),
            ],
        )
        .await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(header_text(&response, "cache-control"), "no-store");
    assert_eq!(
        header_text(&response, "content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(header_text(&response, "x-trace-id"), trace);
    for inner in ["set-cookie", "x-inner"] {
        assert!(!response.headers().contains_key(inner), "{inner}");
    }
    let echoed: Value = serde_json::from_str(&body(response).await).unwrap();
    assert_eq!(echoed["line"], "POST /internal/orders");
    assert_eq!(echoed["body"], r#"{"a":  1}"#);
    let names: Vec<_> = echoed["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line.as_str()?.split(':').next())
        // Headers of HTTP itself.
        .filter(|name| !["accept", "host", "content-length"].contains(name))
        .collect();
    assert_eq!(
        names,
        [
            "content-type",
            "traceparent",
            "x-gateway-secret",
            "x-request-id",
            "x-trace-id",
            "x-user-id"
        ]
    );
    assert!(
        echoed["headers"]
            .to_string()
            .contains("x-user-id: jhalpert")
    );
}

#[tokio::test]
async fn valid_bearer_token_takes_precedence_where_the_area_accepts_it() {
    let server = TestGateway::start().await;
    let foreman = server.session_cookie("foreman", "warehouse-operator");
    let bearer = server.bearer(json!({}));
    let sales = server.bearer(json!({"realm_access": {"roles": ["sales-associate"]}}));
    let nameless = server.bearer(json!({"preferred_username": null}));
    let expired = server.bearer(json!({"exp": 1}));
    let shipments = "/api/v1/warehouse/shipments";
    for (token, cookie, status, user) in [
        (&bearer, None, 418, "dphilbin"),
        (&bearer, Some(&foreman), 418, "dphilbin"),
        (&sales, Some(&foreman), 403, ""),
        (&nameless, Some(&foreman), 418, "foreman"),
        (&expired, Some(&foreman), 418, "foreman"),
        (&nameless, None, 401, ""),
        (&expired, None, 401, ""),
    ] {
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(cookie.map(|cookie| ("cookie", cookie.as_str())));
        let response = server.get(shipments, &headers).await;
        assert_eq!(response.status(), status);
        let body = body(response).await;
        assert!(body.contains(user), "{user} is not in {body}");
    }
    let response = server
        .get("/api/v1/profile/me", &[("authorization", &bearer)])
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(message(response).await, "Login is required");
}

#[tokio::test]
async fn bearer_token_without_keys_of_keycloak_is_an_internal_error() {
    let server = TestGateway::start().await;
    server.realm.server.abort();
    let bearer = server.bearer(json!({}));
    let foreman = server.session_cookie("foreman", "warehouse-operator");
    let shipments = "/api/v1/warehouse/shipments";
    let response = server.get(shipments, &[("authorization", &bearer)]).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(message(response).await, "Unexpected error");
    let both = [("authorization", bearer.as_str()), ("cookie", &foreman)];
    let response = server.get(shipments, &both).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
}

#[tokio::test]
async fn unreachable_service_is_an_error_without_details() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("amartin", "accountant");
    let origin = ("origin", "http://localhost:3002");
    let response = server
        .get("/api/v1/expenses", &[("cookie", &cookie), origin])
        .await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        header_text(&response, "access-control-allow-origin"),
        origin.1
    );
    let body = body(response).await;
    assert!(
        body.contains("INTERNAL_ERROR") && !body.contains("127.0.0.1"),
        "{body}"
    );
}

#[tokio::test]
async fn unknown_path_and_method_get_an_error_envelope() {
    let server = TestGateway::start().await;
    let origin = [("origin", "http://localhost:3000")];
    for (method, path, status) in [
        (Method::GET, "/api/v1/nothing", 404),
        (Method::DELETE, "/api/v1/orders", 405),
        (Method::PUT, "/api/v1/auth/me", 405),
    ] {
        let response = server.request(method, path, &origin).await;
        assert_eq!(response.status(), status);
        assert_eq!(
            header_text(&response, "access-control-allow-origin"),
            origin[0].1
        );
        assert!(!message(response).await.is_empty());
    }
}
