//! Tests of the pages on a loopback address.

use axum::body::Body;
use axum::extract::Request;
use http::{StatusCode, header};
use tower::ServiceExt as _;

use super::{TestGateway, header_text};

#[tokio::test]
async fn pages_on_a_loopback_address_are_redirected_to_localhost() {
    let server = TestGateway::start().await;
    let request = |host: &str, path: &str| {
        let request = Request::builder().uri(path).header(header::HOST, host);
        server
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
    };
    for host in ["127.0.0.1:8081", "[::1]:8081"] {
        for path in [
            "/",
            "/portal?a=b",
            "/apps/portal/",
            "/logout",
            "/logout/everywhere",
        ] {
            let response = request(host, path).await.unwrap();
            assert_eq!(response.status(), StatusCode::FOUND, "{path}");
            assert_eq!(
                header_text(&response, "location"),
                format!("http://localhost:8081{path}")
            );
        }
        for path in ["/health/ready", "/v3/api-docs", "/metrics"] {
            let response = request(host, path).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path}");
        }
        let response = request(host, "/api/v1/auth/me").await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}
