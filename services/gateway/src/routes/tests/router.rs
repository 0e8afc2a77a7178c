//! Tests of what all routes have in common.

use http::Method;

use super::{TestGateway, header_text, message};

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
