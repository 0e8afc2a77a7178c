//! Tests of the streams of an order.

use std::time::Duration;

use http::StatusCode;
use jsonwebtoken::get_current_timestamp;
use serde_json::json;
use tokio::time::timeout;

use super::{TestGateway, answer_refresh, body, unconfirmed_session};
use crate::oidc::realm_tokens::RealmTokens;
use crate::user::User;

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
async fn stream_of_a_bearer_token_ends_with_the_token() {
    let server = TestGateway::start().await;
    let manager = json!({"realm_access": {"roles": ["manager"]}});
    let mut changes = manager.clone();
    // The signature is verified with some leeway, and the stream ends at once.
    changes["exp"] = json!(get_current_timestamp());
    let path = "/api/v1/orders/ord_1/timeline/stream";
    let bearer = server.bearer(changes);
    let response = server.get(path, &[("authorization", &bearer)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let ended = timeout(Duration::from_secs(10), body(response)).await;
    assert!(ended.is_ok(), "the stream outlives its token");

    // All tokens of a user share the permits.
    let mut open = Vec::new();
    for number in 0..9 {
        let mut changes = manager.clone();
        changes["jti"] = json!(number.to_string());
        let bearer = server.bearer(changes);
        open.push(server.get(path, &[("authorization", &bearer)]).await);
    }
    let statuses: Vec<_> = open.iter().map(|it| it.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 429]);
}

#[tokio::test]
async fn stream_ends_when_the_realm_ends_the_session() {
    let server =
        TestGateway::start_with(&[("SESSION_CHECK_MS", "1"), ("TIMELINE_STREAM_POLL_MS", "10")])
            .await;
    let (_, session) = unconfirmed_session(&server);
    answer_refresh(&server, json!({"realm_access": {"roles": ["manager"]}}));
    let manager = User {
        roles: vec!["manager".into()],
        ..session.user.clone()
    };
    let tokens = RealmTokens::for_test(Some("first"));
    server.gateway.sessions.renew(&session, manager, tokens);
    let cookie = format!("dmf_session={}", session.id);
    let path = "/api/v1/orders/ord_1/timeline/stream";
    let response = server.get(path, &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    *server.realm.token_response.lock().unwrap() = None;
    let ended = timeout(Duration::from_secs(30), body(response)).await;
    assert!(ended.is_ok(), "the stream outlives its session");
}
