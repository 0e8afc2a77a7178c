//! Metrics in the OpenMetrics text format.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The content type of the metrics.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The labels of the request metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The method, as returned by [`method_label`].
    pub method: &'static str,
    /// The route with its placeholders, never the path: ids would make the number of labels
    /// unbounded.
    pub route: String,
    /// The status code.
    pub status: u16,
}

/// Returns the label of a request's method: one of the nine methods of HTTP, or `other`. Labels
/// from callers would be unbounded, and are never removed from memory.
#[must_use]
pub(crate) fn method_label(method: &Method) -> &'static str {
    [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::TRACE, "TRACE"),
        (Method::CONNECT, "CONNECT"),
    ]
    .into_iter()
    .find(|(known, _)| known == method)
    .map_or("other", |(_, label)| label)
}

/// The labels of processed events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EventLabels {
    /// The work queue.
    pub queue: String,
    /// `processed`, `duplicate`, `retried` or `dead-lettered`.
    pub outcome: String,
}

/// The metrics of a service.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histogram,
    /// Events that the broker confirmed.
    pub published: Counter,
    /// Events that the broker refused or could not route.
    pub refused: Counter,
    /// Seconds from writing an event to the broker's confirm.
    pub publish_lag: Histogram,
    /// Whether this process relays the outbox: 1 or 0.
    pub relaying: Gauge,
    processed: Family<EventLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = [
            0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
        ]
        .into_iter();
        let metrics = Self {
            registry: Arc::default(),
            requests: Family::default(),
            request_duration: Histogram::new(buckets.clone()),
            published: Counter::default(),
            refused: Counter::default(),
            publish_lag: Histogram::new(buckets),
            relaying: Gauge::default(),
            processed: Family::default(),
        };
        {
            let mut registry = metrics
                .registry
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            registry.register(
                "http_requests",
                "Requests by method, route and status",
                metrics.requests.clone(),
            );
            registry.register(
                "http_request_seconds",
                "Duration of requests",
                metrics.request_duration.clone(),
            );
            registry.register(
                "outbox_published",
                "Events that the broker confirmed",
                metrics.published.clone(),
            );
            registry.register(
                "outbox_refused",
                "Events that the broker refused or could not route",
                metrics.refused.clone(),
            );
            registry.register(
                "outbox_publish_lag_seconds",
                "Time from writing an event to the broker's confirm",
                metrics.publish_lag.clone(),
            );
            registry.register(
                "outbox_relaying",
                "Whether this process relays the outbox",
                metrics.relaying.clone(),
            );
            registry.register(
                "inbox_events",
                "Processed events by queue and outcome",
                metrics.processed.clone(),
            );
        }
        metrics
    }
}

impl Metrics {
    /// Counts a request.
    pub(crate) fn record_request(&self, labels: RequestLabels, duration: Duration) {
        self.requests.get_or_create(&labels).inc();
        self.request_duration.observe(duration.as_secs_f64());
    }

    /// Counts a processed event.
    pub(crate) fn record_event(&self, queue: &str, outcome: &str) {
        let labels = EventLabels {
            queue: queue.to_owned(),
            outcome: outcome.to_owned(),
        };
        self.processed.get_or_create(&labels).inc();
    }

    /// Returns all metrics as text.
    #[must_use]
    pub(crate) fn encode_text(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_method_has_the_label_other() {
        let label = |name: &str| method_label(&Method::from_bytes(name.as_bytes()).unwrap());
        assert_eq!(label("PATCH"), "PATCH");
        for unknown in ["get", "X1", "PROPFIND", &"A".repeat(300_000)] {
            assert_eq!(label(unknown), "other");
        }
    }

    #[test]
    fn encoded_text_contains_recorded_metrics() {
        let metrics = Metrics::default();
        metrics.record_request(
            RequestLabels {
                method: "GET",
                route: "/internal/orders/{orderId}".into(),
                status: 200,
            },
            Duration::from_millis(3),
        );
        metrics.record_event("order.inventory-events.q", "processed");
        let text = metrics.encode_text();
        for line in [
            r#"http_requests_total{method="GET",route="/internal/orders/{orderId}",status="200"} 1"#,
            r#"http_request_seconds_bucket{le="0.005"} 1"#,
            r#"inbox_events_total{queue="order.inventory-events.q",outcome="processed"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
