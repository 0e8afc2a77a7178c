//! The outermost layer: trace headers, the error envelope, the log line and the
//! metrics of every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::error::{ApiError, DetailsStyle};
use super::security_headers;
use crate::telemetry::metrics::{RequestLabels, method_label};
use crate::telemetry::{Metrics, truncate};
use crate::trace::Trace;

/// What the layer needs.
#[derive(Debug, Clone)]
pub(super) struct RequestObserver {
    pub(super) details_style: DetailsStyle,
    pub(super) metrics: Metrics,
}

/// The trace of the request at hand.
#[derive(Debug, Clone)]
pub struct CurrentTrace(pub Trace);

impl<S: Sync> FromRequestParts<S> for CurrentTrace {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let trace = parts.extensions.get::<Trace>().cloned();
        Ok(Self(
            trace.unwrap_or_else(|| Trace::from_headers(&parts.headers)),
        ))
    }
}

pub(super) async fn observe(
    State(observer): State<RequestObserver>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let trace = Trace::from_headers(request.headers());
    request.extensions_mut().insert(trace.clone());
    // Whoever makes up methods and paths must fill neither the memory nor the log.
    let method = method_label(request.method());
    let path = truncate(request.uri().path()).into_owned();
    let route = request.extensions().get::<MatchedPath>().map_or_else(
        || "unmatched".to_owned(),
        |matched| matched.as_str().to_owned(),
    );
    let span = info_span!(
        "request",
        trace_id = %trace.trace_id,
        request_id = %trace.request_id,
    );
    async {
        let mut response = next.run(request).await;
        let status = response.status();
        let fault = response.extensions_mut().remove::<Arc<ApiError>>();
        if let Some(fault) = &fault {
            let headers = std::mem::take(response.headers_mut());
            response = fault.render(observer.details_style, &trace);
            for (name, value) in &headers {
                if !matches!(name.as_str(), "content-type" | "content-length") {
                    response.headers_mut().append(name, value.clone());
                }
            }
        }
        trace.write_headers(response.headers_mut());
        security_headers::add_missing(response.headers_mut());
        let took = began.elapsed();
        // Whole microseconds: more digits say nothing.
        let ms = (took.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let code = fault.as_ref().map(|fault| fault.code);
        let status = status.as_u16();
        match fault.as_ref().and_then(|fault| fault.cause.as_ref()) {
            Some(cause) => error!(method, path, status, ms, code, cause, "failed"),
            None if status >= 500 => error!(method, path, status, ms, code, "failed"),
            None if status >= 400 => warn!(method, path, status, ms, code, "refused"),
            // Asked ten times a second while a stack comes up.
            None if is_probe_route(&route) => debug!(method, path, status, ms, "answered"),
            None => info!(method, path, status, ms, "answered"),
        }
        let labels = RequestLabels {
            method,
            route,
            status,
        };
        observer.metrics.record_request(labels, took);
        response
    }
    .instrument(span)
    .await
}

/// Whether a route is one that machines ask all the time.
fn is_probe_route(route: &str) -> bool {
    ["/health/", "/actuator/", "/metrics"]
        .iter()
        .any(|start| route.starts_with(start))
}
