//! Tests of forwarding to the services.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode, header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::{TestGateway, body, header_text};

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
    for inner in ["set-cookie", "x-inner", "etag"] {
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

/// Returns the request that the echo service received.
async fn echoed(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    let bytes = to_bytes(response.into_body(), 1 << 23).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn image_of_up_to_two_mebibytes_is_forwarded_with_its_content_type() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "portal-user");
    let upload = async |length: usize| {
        let request = Request::builder()
            .method(Method::PUT)
            .uri("/api/v1/profile/me/avatar")
            .header(header::HOST, "localhost:8081")
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "image/webp")
            .body(Body::from(vec![b'x'; length]))
            .unwrap();
        server.router.clone().oneshot(request).await.unwrap()
    };
    let response = upload(2 << 20).await;
    assert_eq!(header_text(&response, "etag"), "\"inner\"");
    assert!(!response.headers().contains_key("set-cookie"));
    let request = echoed(response).await;
    assert_eq!(request["line"], "PUT /internal/profile/me/avatar");
    assert_eq!(request["body"].as_str().map(str::len), Some(2 << 20));
    let headers = request["headers"].to_string();
    assert!(headers.contains("content-type: image/webp"), "{headers}");
    assert!(!headers.contains("application/json"), "{headers}");
    let response = upload((2 << 20) + 1).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn entity_tags_are_forwarded_and_returned_for_images_only() {
    let server = TestGateway::start().await;
    let cookie = server.session_cookie("jhalpert", "portal-user");
    let headers = [("cookie", cookie.as_str()), ("if-none-match", "\"known\"")];
    for (path, is_forwarded) in [
        ("/api/v1/profile/dschrute/avatar", true),
        ("/api/v1/profile/me/avatar", true),
        ("/api/v1/profile/me", false),
        ("/api/v1/profile/me/apps/portal/settings", false),
    ] {
        let response = server.get(path, &headers).await;
        assert_eq!(response.headers().contains_key("etag"), is_forwarded);
        assert_eq!(header_text(&response, "cache-control"), "no-store");
        // A browser that keeps the image must not show it to the next user.
        let varies = response.headers().get(header::VARY);
        let by_user = is_forwarded.then_some("cookie, authorization");
        assert_eq!(varies.map(|value| value.to_str().unwrap()), by_user);
        let request = echoed(response).await;
        let line = format!("GET {}", path.replace("/api/v1", "/internal"));
        assert_eq!(request["line"], line);
        let names = request["headers"].to_string();
        assert_eq!(names.contains("if-none-match: "), is_forwarded, "{path}");
    }
}

/// Starts a service that sends the first part of its response at once, and the rest after
/// `release` is notified.
async fn start_streaming_service(release: Arc<Notify>) -> String {
    let respond = move || {
        let release = Arc::clone(&release);
        let first = stream::once(async { Ok::<_, Infallible>("[1,") });
        let rest = stream::once(async move {
            release.notified().await;
            Ok("2]")
        });
        async move { Body::from_stream(first.chain(rest)) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(respond);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

#[tokio::test]
async fn response_is_forwarded_before_the_service_has_sent_all_of_it() {
    let release = Arc::new(Notify::new());
    let service = start_streaming_service(Arc::clone(&release)).await;
    let server = TestGateway::start_with(&[("ORDER_SERVICE_BASE_URL", &service)]).await;
    let cookie = server.session_cookie("jhalpert", "sales-associate");
    let response = server.get("/api/v1/orders", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut parts = response.into_body().into_data_stream();
    assert_eq!(parts.next().await.unwrap().unwrap(), "[1,");
    release.notify_one();
    assert_eq!(parts.next().await.unwrap().unwrap(), "2]");
    assert!(parts.next().await.is_none());
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
