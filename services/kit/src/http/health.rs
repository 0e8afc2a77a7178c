//! Health endpoints: liveness of the process, and readiness of its dependencies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use serde::Serialize;
use sqlx::postgres::PgPool;
use tracing::{info, warn};

/// Maximum duration of the query after which the database counts as unavailable.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The current state of one dependency of a service.
#[derive(Debug, Clone, Default)]
pub struct HealthIndicator(Arc<AtomicBool>);

impl HealthIndicator {
    /// Sets whether the dependency is available.
    pub(crate) fn set(&self, up: bool) {
        self.0.store(up, Ordering::Relaxed);
    }

    /// Returns whether the dependency is available.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The dependencies of a service.
#[derive(Debug, Default)]
pub struct ServiceHealth {
    database: Option<PgPool>,
    indicators: Vec<(&'static str, HealthIndicator)>,
    /// Whether the service was ready at the last check.
    was_ready: AtomicBool,
}

impl ServiceHealth {
    /// Adds a database, which is queried for each check.
    #[must_use]
    pub(crate) fn with_database(mut self, pool: PgPool) -> Self {
        self.database = Some(pool);
        self
    }

    /// Adds an indicator. Those with one name are one component, which is up if all are up.
    pub(crate) fn indicator(&mut self, name: &'static str) -> HealthIndicator {
        let indicator = HealthIndicator::default();
        self.indicators.push((name, indicator.clone()));
        indicator
    }

    /// Returns the health routes, which need no caller.
    pub(super) fn routes(self) -> Router {
        let live = || async { Json(HealthStatus::default()) };
        Router::new()
            .route("/actuator/health/liveness", get(live))
            .route("/health/live", get(live))
            .route("/actuator/health", get(readiness))
            .route("/actuator/health/readiness", get(readiness))
            .route("/health/ready", get(readiness))
            .with_state(Arc::new(self))
    }

    /// Logs a change of readiness: of a service that starts, only that it is ready.
    fn log_change(&self, unavailable: &[&str]) {
        let is_ready = unavailable.is_empty();
        let was_ready = self.was_ready.swap(is_ready, Ordering::Relaxed);
        match (was_ready, is_ready) {
            (false, true) => info!("service is ready"),
            (true, false) => warn!(components = unavailable.join(", "), "service is not ready"),
            _ => {}
        }
    }
}

#[derive(Debug, Serialize)]
struct HealthStatus {
    status: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    components: BTreeMap<&'static str, ComponentHealth>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct ComponentHealth {
    status: &'static str,
}

impl Default for HealthStatus {
    fn default() -> Self {
        Self {
            status: status_name(true),
            components: BTreeMap::new(),
        }
    }
}

const fn status_name(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

async fn readiness(State(health): State<Arc<ServiceHealth>>) -> Response {
    let mut components: BTreeMap<&'static str, bool> = BTreeMap::new();
    for (name, indicator) in &health.indicators {
        let up = components.entry(name).or_insert(true);
        *up = *up && indicator.is_up();
    }
    if let Some(pool) = &health.database {
        let query = sqlx::query("SELECT 1").execute(pool);
        let result = tokio::time::timeout(DATABASE_TIMEOUT, query).await;
        components.insert("db", matches!(result, Ok(Ok(_))));
    }
    let unavailable: Vec<&str> = components
        .iter()
        .filter(|&(_, up)| !up)
        .map(|(name, _)| *name)
        .collect();
    health.log_change(&unavailable);
    let up = unavailable.is_empty();
    let code = if up {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let components = components
        .into_iter()
        .map(|(name, up)| {
            (
                name,
                ComponentHealth {
                    status: status_name(up),
                },
            )
        })
        .collect();
    let status = HealthStatus {
        status: status_name(up),
        components,
    };
    (code, Json(status)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use serde_json::json;
    use tower::ServiceExt as _;

    use super::*;
    use crate::telemetry::CapturedLog;

    #[tokio::test]
    async fn change_of_readiness_is_logged_once() {
        let mut health = ServiceHealth::default();
        let rabbit = health.indicator("rabbit");
        let router = health.routes();
        let log = CapturedLog::start();
        for up in [false, true, true, false, false, true] {
            rabbit.set(up);
            let probe = Request::get("/health/ready").body(Body::empty()).unwrap();
            router.clone().oneshot(probe).await.unwrap();
        }
        let changes: Vec<_> = log
            .lines()
            .iter()
            .map(|line| json!([line["level"], line["components"]]))
            .collect();
        let ready = json!(["INFO", null]);
        assert_eq!(changes, [ready.clone(), json!(["WARN", "rabbit"]), ready]);
    }
}
