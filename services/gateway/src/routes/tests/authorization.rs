//! Tests of bearer tokens.

use http::StatusCode;
use jsonwebtoken::get_current_timestamp;
use serde_json::json;

use super::super::route_table::ROUTES;
use super::{TestGateway, body, header_text, message};

#[tokio::test]
async fn valid_bearer_token_takes_precedence_over_a_session() {
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
    let response = server.get(shipments, &[("authorization", &expired)]).await;
    assert_eq!(
        header_text(&response, "www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    let anonymous = server.get(shipments, &[]).await;
    assert!(!anonymous.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn bearer_token_opens_each_route_of_its_role_and_no_other() {
    let server = TestGateway::start_with(&[
        ("SALES_SERVICE_BASE_URL", "http://127.0.0.1:1"),
        ("WUPHF_SERVICE_BASE_URL", "http://127.0.0.1:1"),
    ])
    .await;
    let roles = [
        "sales-associate",
        "warehouse-operator",
        "accountant",
        "manager",
        "portal-user",
    ];
    for role in roles {
        let bearer = server.bearer(json!({
            "preferred_username": "kkapoor",
            "realm_access": {"roles": [role]},
        }));
        for route in &ROUTES {
            let response = server
                .request(
                    route.method.clone(),
                    &route.path.replace(['{', '}'], ""),
                    &[("authorization", &bearer)],
                )
                .await;
            let what = format!("{role}: {} {}", route.method, route.path);
            let status = response.status().as_u16();
            if route.area.permits(&[role]) {
                assert!(![401, 403].contains(&status), "{what}: {status}");
            } else {
                assert_eq!(status, 403, "{what}");
                let message = message(response).await;
                assert_eq!(message, route.area.forbidden_token_message(), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn token_of_a_disabled_user_is_refused_when_its_confirmation_is_too_old() {
    let server = TestGateway::start().await;
    let shipments = "/api/v1/warehouse/shipments";
    // Issued longer ago than the interval of the checks and their grace.
    let issued_at = get_current_timestamp() - 60;
    let bearer = |id: &str| server.bearer(json!({"iat": issued_at, "jti": id}));
    let status = async |bearer: &str| {
        let response = server.get(shipments, &[("authorization", bearer)]).await;
        response.status().as_u16()
    };
    let accepted = bearer("accepted");
    assert_eq!(status(&accepted).await, 418);
    assert_eq!(status(&accepted).await, 418);
    assert_eq!(server.realm.userinfo_request_count(), 1);
    assert_eq!(*server.realm.last_host.lock().unwrap(), "localhost:8080");

    *server.realm.userinfo_status.lock().unwrap() = StatusCode::UNAUTHORIZED;
    let disabled = bearer("disabled");
    assert_eq!(status(&disabled).await, 401);
    assert_eq!(status(&disabled).await, 401);
    assert_eq!(status(&accepted).await, 418, "checked again too soon");
    // A new token needs no check.
    assert_eq!(status(&server.bearer(json!({}))).await, 418);
    assert_eq!(server.realm.userinfo_request_count(), 2);

    // A realm that cannot answer locks out no user.
    for unclear in [StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY] {
        *server.realm.userinfo_status.lock().unwrap() = unclear;
        assert_eq!(status(&bearer(unclear.as_str())).await, 418);
    }
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
