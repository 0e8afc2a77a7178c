//! CORS: allows scripts of the web apps, and only for API paths.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use dm_kit::http::ApiError;
use dm_kit::trace::{REQUEST_ID, TRACE_ID, TRACEPARENT};
use http::{HeaderValue, Method, header};
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::CorsLayer;

use crate::downstream::IDEMPOTENCY_KEY;
use crate::origin::RequestOrigin;
use crate::settings::AllowedOrigins;

/// The prefix of the API paths. Their responses are not cached unless they say otherwise.
pub(crate) const API_PREFIX: &str = "/api/v1/";

/// The time for which a browser may cache a preflight response.
const MAX_AGE: Duration = Duration::from_secs(3600);

struct Cors {
    allowed_origins: AllowedOrigins,
    layer: CorsLayer,
}

/// Applies the CORS rules to all routes, so that error responses carry the headers, too.
pub(crate) fn wrap_router(router: Router, origins: AllowedOrigins) -> Router {
    let layer = CorsLayer::new()
        .allow_origin(origins.all().to_vec())
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            IDEMPOTENCY_KEY,
            header::ACCEPT,
            TRACE_ID,
            REQUEST_ID,
            TRACEPARENT,
        ])
        .expose_headers([
            header::CONTENT_TYPE,
            header::CACHE_CONTROL,
            TRACE_ID,
            REQUEST_ID,
            TRACEPARENT,
        ])
        .max_age(MAX_AGE);
    router.layer(from_fn_with_state(
        Arc::new(Cors {
            allowed_origins: origins,
            layer,
        }),
        apply,
    ))
}

async fn apply(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with(API_PREFIX) {
        return next.run(request).await;
    }
    let mut response = match request.headers().get(header::ORIGIN) {
        Some(origin) if cors.allowed_origins.contains(origin) => {
            let Ok(response) = cors.layer.layer(next).oneshot(request).await;
            response
        }
        Some(origin) if !is_same_origin(origin, &request) => {
            ApiError::forbidden("Origin is not allowed").into_response()
        }
        // Pages of the gateway, and requests that are not from a script of a page.
        _ => next.run(request).await,
    };
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Returns whether the origin of the script is the origin that it calls.
fn is_same_origin(origin: &HeaderValue, request: &Request) -> bool {
    RequestOrigin::from_headers(request.headers())
        .is_some_and(|called| called.to_text().as_bytes() == origin)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;

    use super::*;

    async fn send(method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let routes = Router::new()
            .route("/api/v1/auth/me", get(|| async { "me" }))
            .route("/portal", get(|| async { "portal" }))
            .fallback(|| async { StatusCode::NOT_FOUND });
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        wrap_router(routes, AllowedOrigins::default())
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    fn text<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap())
    }

    #[tokio::test]
    async fn preflight_of_an_app_gets_the_headers_of_the_contract() {
        let origin = "http://host.docker.internal:3004";
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "idempotency-key"),
        ];
        let response = send(Method::OPTIONS, "/api/v1/orders", &preflight).await;
        assert_eq!(response.status(), StatusCode::OK);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,POST,OPTIONS"),
            (
                "access-control-allow-headers",
                "authorization,content-type,idempotency-key,accept,x-trace-id,x-request-id,traceparent",
            ),
            ("access-control-max-age", "3600"),
        ] {
            assert_eq!(text(&response, name), Some(value), "{name}");
        }
    }

    #[tokio::test]
    async fn success_and_error_responses_carry_the_cors_headers() {
        for (path, status) in [
            ("/api/v1/auth/me", StatusCode::OK),
            ("/api/v1/nothing", StatusCode::NOT_FOUND),
        ] {
            let origin = "http://localhost:3001";
            let response = send(Method::GET, path, &[("origin", origin)]).await;
            assert_eq!(response.status(), status);
            for (name, value) in [
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                (
                    "access-control-expose-headers",
                    "content-type,cache-control,x-trace-id,x-request-id,traceparent",
                ),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(text(&response, name), Some(value), "{path} {name}");
            }
        }
    }

    #[tokio::test]
    async fn origin_that_is_not_allowed_gets_403() {
        for origin in [
            "http://localhost:3003",
            "http://evil.example",
            "https://localhost:3000",
            "http://localhost:3000.evil.example",
            "null",
        ] {
            for method in [Method::GET, Method::OPTIONS] {
                let response = send(method, "/api/v1/auth/me", &[("origin", origin)]).await;
                assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
                assert_eq!(text(&response, "access-control-allow-origin"), None);
            }
        }
    }

    #[tokio::test]
    async fn cors_ignores_same_origin_and_paths_outside_api_v1() {
        let same = [
            ("origin", "http://localhost:8081"),
            ("host", "localhost:8081"),
        ];
        let response = send(Method::GET, "/api/v1/auth/me", &same).await;
        assert_eq!(response.status(), StatusCode::OK);
        let other = [("origin", "http://evil.example")];
        let response = send(Method::GET, "/portal", &other).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(&response, "access-control-allow-origin"), None);
    }
}
