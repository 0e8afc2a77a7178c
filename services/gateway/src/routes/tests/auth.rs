//! Tests of the current user, and of how long its session lasts.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{TestGateway, answer_refresh, body, header_text, pass, unconfirmed_session};

/// More than the interval of the checks at the realm and their grace: a request waits for its check.
const CHECK_OVERDUE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn current_user_of_a_bearer_token_has_its_expiry() {
    let server = TestGateway::start().await;
    let bearer = server.bearer(json!({"exp": 4_000_000_000_u32}));
    let response = server
        .get("/api/v1/auth/me", &[("authorization", &bearer)])
        .await;
    let me: Value = serde_json::from_str(&body(response).await).unwrap();
    assert_eq!(me["userId"], "dphilbin");
    assert_eq!(me["apps"], json!(["portal", "warehouse-mobile"]));
    assert_eq!(me["sessionExpiresAt"], "2096-10-02T07:06:40Z");
    let expired = server.bearer(json!({"exp": 1}));
    let response = server
        .get("/api/v1/auth/me", &[("authorization", &expired)])
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(body(response).await, r#"{"error":"unauthenticated"}"#);
}

#[tokio::test]
async fn session_follows_the_realm() {
    let server = TestGateway::start().await;
    let (cookie, session) = unconfirmed_session(&server);
    let me = async || {
        pass(CHECK_OVERDUE).await;
        let response = server.get("/api/v1/auth/me", &[("cookie", &cookie)]).await;
        (response.status().as_u16(), body(response).await)
    };
    let until = async |condition: &dyn Fn(u16, &str) -> bool| {
        // A request does not wait for ever for a check.
        for _ in 0..10 {
            let (status, body) = me().await;
            if condition(status, &body) {
                return body;
            }
        }
        panic!("the session does not follow the realm");
    };
    answer_refresh(
        &server,
        json!({"realm_access": {"roles": ["manager"]}, "name": "D. Philbin"}),
    );
    let promoted = until(&|_, body| body.contains("manager")).await;
    assert!(promoted.contains("D. Philbin"), "{promoted}");
    let expiry = serde_json::to_string(&session.expires_at).unwrap();
    assert!(promoted.contains(&expiry), "{promoted}");
    let form = server.realm.last_token_request.lock().unwrap().clone();
    assert_eq!(form["grant_type"], "refresh_token");
    assert_eq!(form["client_secret"], "gateway-secret-change-me");
    assert_eq!(*server.realm.last_host.lock().unwrap(), "localhost:8080");
    // The newest refresh token is used.
    let count = server.realm.token_request_count();
    until(&|_, _| server.realm.token_request_count() > count).await;
    let form = server.realm.last_token_request.lock().unwrap().clone();
    assert_eq!(form["refresh_token"], "second");

    // A realm with a fault keeps the session.
    *server.realm.token_refusal.lock().unwrap() = (StatusCode::SERVICE_UNAVAILABLE, "");
    *server.realm.token_response.lock().unwrap() = None;
    let count = server.realm.token_request_count();
    until(&|_, _| server.realm.token_request_count() > count + 1).await;
    assert_eq!(me().await.0, 200);

    *server.realm.token_refusal.lock().unwrap() = (StatusCode::BAD_REQUEST, "User disabled");
    let refused = until(&|status, _| status == 401).await;
    assert_eq!(refused, r#"{"error":"unauthenticated"}"#);
}

#[tokio::test]
async fn session_of_an_unreachable_realm_stays() {
    let server = TestGateway::start().await;
    server.realm.server.abort();
    let (cookie, session) = unconfirmed_session(&server);
    for _ in 0..5 {
        pass(CHECK_OVERDUE).await;
        let response = server.get("/api/v1/auth/me", &[("cookie", &cookie)]).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert!(server.gateway.sessions.current(&session).is_some());
}

#[tokio::test]
async fn activity_extends_a_session_and_its_cookie() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "manager");
    let headers = [("cookie", cookie.as_str())];
    let first = server.get("/api/v1/auth/me", &headers).await;
    let first: Value = serde_json::from_str(&body(first).await).unwrap();
    for _ in 0..3 {
        pass(Duration::from_secs(20 * 60)).await;
        let response = server.get("/api/v1/auth/me", &headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            header_text(&response, "set-cookie"),
            format!("{cookie}; HttpOnly; SameSite=Lax; Path=/; Max-Age=1800")
        );
        let me: Value = serde_json::from_str(&body(response).await).unwrap();
        assert_eq!(me["sessionExpiresAt"], first["sessionExpiresAt"]);
        let again = server.get("/api/v1/auth/me", &headers).await;
        assert!(!again.headers().contains_key("set-cookie"));
    }
    // A page of a foreign origin is no activity.
    let foreign = [headers[0], ("origin", "http://localhost:9999")];
    pass(Duration::from_secs(20 * 60)).await;
    let response = server.get("/api/v1/auth/me", &foreign).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    pass(Duration::from_secs(11 * 60)).await;
    let response = server.get("/api/v1/auth/me", &headers).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
