//! The timelines of orders.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::TraceContext;
use crate::MessagingError;
use crate::outbox::OutboxRow;

/// An entry of an order's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct TimelineEntry {
    /// The order.
    pub order_id: String,
    /// The status of the order.
    pub status: String,
    /// The instant.
    pub at: DateTime<Utc>,
    /// The service that set the status.
    pub source: String,
}

/// Loads the timelines of the orders that these events are about, earliest entry first, in the
/// same order as order-service returns them (`services/order/src/store/timeline.rs`).
pub(super) async fn load_timeline(
    context: TraceContext<'_>,
    rows: impl Iterator<Item = &OutboxRow>,
) -> Result<Vec<TimelineEntry>, MessagingError> {
    let orders: BTreeSet<String> = rows
        .filter_map(|row| row.subject.strip_prefix("order/"))
        .map(str::to_owned)
        .collect();
    let tables = context
        .service_tables
        .iter()
        .find(|tables| tables.service == "order");
    let Some(tables) = tables.filter(|_| !orders.is_empty()) else {
        return Ok(Vec::new());
    };
    let statement = format!(
        "SELECT order_id, status, at, source FROM {} WHERE order_id = ANY($1) ORDER BY at, id",
        tables.qualified_table("order_timeline")
    );
    let orders: Vec<String> = orders.into_iter().collect();
    Ok(sqlx::query_as(AssertSqlSafe(statement))
        .bind(orders)
        .fetch_all(context.database)
        .await?)
}
