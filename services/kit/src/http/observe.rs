//! The outermost layer: trace headers, error envelope, log line and metrics of every request.

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

/// The state of the layer.
#[derive(Debug, Clone)]
pub(super) struct RequestObserver {
    pub(super) details_style: DetailsStyle,
    pub(super) metrics: Metrics,
}

/// The trace of the current request.
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
    let started_at = Instant::now();
    let trace = Trace::from_headers(request.headers());
    request.extensions_mut().insert(trace.clone());
    // Unbounded methods and paths of callers must fill neither the memory nor the log.
    let method = method_label(request.method());
    let path = truncate(request.uri().path()).into_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|matched| matched.as_str().to_owned());
    let span = info_span!(
        "request",
        trace_id = %trace.trace_id,
        request_id = %trace.request_id,
    );
    async {
        let mut response = next.run(request).await;
        let status = response.status();
        let error = response.extensions_mut().remove::<Arc<ApiError>>();
        if let Some(error) = &error {
            let headers = std::mem::take(response.headers_mut());
            response = error.render(observer.details_style, &trace);
            for (name, value) in &headers {
                if !matches!(name.as_str(), "content-type" | "content-length") {
                    response.headers_mut().append(name, value.clone());
                }
            }
        }
        trace.write_headers(response.headers_mut());
        security_headers::add_missing(response.headers_mut());
        let duration = started_at.elapsed();
        // Rounded to microseconds: more digits have no meaning.
        let duration_ms = (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let code = error.as_ref().map(|error| error.code);
        let cause = error.as_ref().and_then(|error| error.cause.as_deref());
        let status = status.as_u16();
        // `dm` probes a service ten times a second while it starts, and gets status 503 until the
        // service is ready. These lines would hide errors. Refused probes and internal errors are
        // logged like those of other requests.
        let is_probe = route.as_deref().is_some_and(is_probe_route);
        let is_expected = cause.is_none() && (status < 400 || status == 503);
        if is_probe && is_expected {
            debug!(
                http.request.method = method,
                url.path = path,
                http.route = route,
                http.response.status_code = status,
                duration_ms,
                error.type = code,
                "probe answered"
            );
        } else if cause.is_some() || status >= 500 {
            error!(
                http.request.method = method,
                url.path = path,
                http.route = route,
                http.response.status_code = status,
                duration_ms,
                error.type = code,
                error.message = cause,
                "request failed"
            );
        } else if status >= 400 {
            warn!(
                http.request.method = method,
                url.path = path,
                http.route = route,
                http.response.status_code = status,
                duration_ms,
                error.type = code,
                "request rejected"
            );
        } else {
            info!(
                http.request.method = method,
                url.path = path,
                http.route = route,
                http.response.status_code = status,
                duration_ms,
                "request processed"
            );
        }
        let labels = RequestLabels {
            method,
            route: route.unwrap_or_else(|| "unmatched".to_owned()),
            status,
        };
        observer.metrics.record_request(labels, duration);
        response
    }
    .instrument(span)
    .await
}

/// Returns whether a route is one that probes and scrapes request periodically.
fn is_probe_route(route: &str) -> bool {
    ["/health/", "/actuator/", "/metrics"]
        .iter()
        .any(|start| route.starts_with(start))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt as _;

    use super::*;
    use crate::telemetry::CapturedLog;

    #[tokio::test]
    async fn probe_is_logged_at_debug_unless_it_is_refused_or_fails() {
        let unavailable = || async { StatusCode::SERVICE_UNAVAILABLE };
        let misdirected = || async { StatusCode::MISDIRECTED_REQUEST };
        let observer = RequestObserver {
            details_style: DetailsStyle::Absent,
            metrics: Metrics::default(),
        };
        let app = Router::new()
            .route("/health/live", get(|| async { StatusCode::OK }))
            .route("/health/ready", get(unavailable))
            .route("/actuator/health", get(misdirected))
            .route("/metrics", get(|| async { ApiError::internal("panic") }))
            .route("/internal/orders", get(unavailable))
            .layer(from_fn_with_state(observer, observe));
        let expected = [
            ("/health/live", "DEBUG"),
            ("/health/ready", "DEBUG"),
            ("/actuator/health", "WARN"),
            ("/metrics", "ERROR"),
            ("/internal/orders", "ERROR"),
        ];
        let log = CapturedLog::start();
        for (path, _) in expected {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap();
        }
        let levels: Vec<_> = log
            .lines()
            .iter()
            .map(|line| line["level"].clone())
            .collect();
        assert_eq!(levels, expected.map(|(_, level)| level));
    }
}
