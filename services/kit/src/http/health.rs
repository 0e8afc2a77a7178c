//! Health: whether the process lives, and whether it can do its work.

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

/// How long the database may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// One thing that a service needs, and whether it has it right now.
#[derive(Debug, Clone, Default)]
pub struct Indicator(Arc<AtomicBool>);

impl Indicator {
    /// Says whether it is there.
    pub(crate) fn set(&self, up: bool) {
        self.0.store(up, Ordering::Relaxed);
    }

    /// Whether it is there.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// All that a service needs.
#[derive(Debug, Clone, Default)]
pub struct Health {
    database: Option<PgPool>,
    indicators: Vec<(&'static str, Indicator)>,
}

impl Health {
    /// Asks this database, too.
    #[must_use]
    pub(crate) fn with_database(mut self, pool: PgPool) -> Self {
        self.database = Some(pool);
        self
    }

    /// A new indicator of that name. Those of one name are up together.
    pub(crate) fn indicator(&mut self, name: &'static str) -> Indicator {
        let indicator = Indicator::default();
        self.indicators.push((name, indicator.clone()));
        indicator
    }

    /// The routes. They ask for no caller.
    pub(super) fn routes(self) -> Router {
        let live = || async { Json(Status::default()) };
        Router::new()
            .route("/actuator/health/liveness", get(live))
            .route("/health/live", get(live))
            .route("/actuator/health", get(ready))
            .route("/actuator/health/readiness", get(ready))
            .route("/health/ready", get(ready))
            .with_state(Arc::new(self))
    }
}

#[derive(Debug, Serialize)]
struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    components: BTreeMap<&'static str, Component>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Component {
    status: &'static str,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            status: word(true),
            components: BTreeMap::new(),
        }
    }
}

const fn word(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let mut found: BTreeMap<&'static str, bool> = BTreeMap::new();
    for (name, indicator) in &health.indicators {
        let up = found.entry(name).or_insert(true);
        *up = *up && indicator.is_up();
    }
    if let Some(pool) = &health.database {
        let asked = sqlx::query("SELECT 1").execute(pool);
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        found.insert("db", matches!(answered, Ok(Ok(_))));
    }
    let up = found.values().all(|up| *up);
    let code = if up {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let components = found
        .into_iter()
        .map(|(name, up)| (name, Component { status: word(up) }))
        .collect();
    let status = Status {
        status: word(up),
        components,
    };
    (code, Json(status)).into_response()
}
