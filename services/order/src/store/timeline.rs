//! The table `order_timeline`.

use chrono::{DateTime, Utc};
use dm_contracts::api::order::{OrderStatus, TimelineEntry};
use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use super::parse_status;

/// Inserts an entry.
pub(crate) async fn append(
    transaction: &mut PgConnection,
    order_id: &str,
    status: OrderStatus,
    at: DateTime<Utc>,
    source: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO order_timeline (order_id, status, at, source) VALUES ($1, $2, $3, $4)",
    )
    .bind(order_id)
    .bind(status.as_str())
    .bind(at)
    .bind(source)
    .execute(transaction)
    .await?;
    Ok(())
}

/// Returns whether the timeline of an order has this status. The order must be locked.
pub(crate) async fn has_status(
    transaction: &mut PgConnection,
    order_id: &str,
    status: OrderStatus,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM order_timeline WHERE order_id = $1 AND status = $2)",
    )
    .bind(order_id)
    .bind(status.as_str())
    .fetch_one(transaction)
    .await
}

/// Returns the timeline of an order, earliest first. It is empty only if the order does not
/// exist: the first entry is inserted with the order. `dm events trace` reads the entries in the
/// same order (`cli/crates/messaging/src/trace/timeline.rs`).
pub(crate) async fn list(pool: &PgPool, order_id: &str) -> Result<Vec<TimelineEntry>, sqlx::Error> {
    let rows: Vec<(String, DateTime<Utc>, String)> = sqlx::query_as(
        "SELECT status, at, source FROM order_timeline WHERE order_id = $1 ORDER BY at, id",
    )
    .bind(order_id)
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(status, at, source)| {
            Ok(TimelineEntry {
                status: parse_status(&status)?,
                at,
                source,
            })
        })
        .collect()
}
