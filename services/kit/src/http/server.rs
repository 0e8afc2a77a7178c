//! Combines the routes of a service with the routes and layers of all services.

use std::any::Any;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;

use super::access_guard::{AccessGuard, check_access};
use super::api_docs;
use super::error::{ApiError, DetailsStyle};
use super::health::ServiceHealth;
use super::observe::{RequestObserver, observe};
use crate::telemetry::{Metrics, metrics};

/// Maximum size of a request body, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Adds middleware around a router.
pub type Middleware = Box<dyn FnOnce(Router) -> Router + Send>;

/// The parts of a server.
pub struct HttpServer {
    /// The service's own routes.
    pub routes: Router,
    /// Their API description.
    pub api: OpenApi,
    /// Dependencies of the service.
    pub health: ServiceHealth,
    /// Form of `details` in errors without issues.
    pub details_style: DetailsStyle,
    /// The metrics of the service.
    pub metrics: Metrics,
    /// The service's own middleware, around all routes.
    pub middleware: Middleware,
    /// Access control.
    pub guard: AccessGuard,
}

impl HttpServer {
    /// Returns the router with all routes and layers.
    pub fn into_router(self) -> Router {
        let observer = RequestObserver {
            details_style: self.details_style,
            metrics: self.metrics.clone(),
        };
        let metrics = self.metrics;
        let scrape = get(move || {
            let text = metrics.encode_text();
            async move { ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text) }
        });
        let routes = Router::new()
            .merge(self.routes)
            .merge(self.health.routes())
            .merge(api_docs::routes(&self.api))
            .route("/metrics", scrape.clone())
            .route("/actuator/prometheus", scrape)
            .fallback(|| async { ApiError::not_found("NOT_FOUND", "No such path") })
            .method_not_allowed_fallback(|| async {
                ApiError::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "METHOD_NOT_ALLOWED",
                    "This path does not take that method",
                )
            })
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(CatchPanicLayer::custom(panic_response));
        (self.middleware)(routes)
            .layer(from_fn_with_state(self.guard, check_access))
            .layer(from_fn_with_state(observer, observe))
    }
}

fn panic_response(panic: Box<dyn Any + Send>) -> Response {
    let cause = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    ApiError::internal(format!("panic: {cause}")).into_response()
}
