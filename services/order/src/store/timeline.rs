//! The table `order_timeline`.

use chrono::{DateTime, Utc};
use dm_contracts::api::order::{OrderStatus, TimelineEntry};
use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use super::parse_status;

/// Adds an entry.
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

/// Whether an order has such an entry. The order must be locked.
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

/// The timeline of an order, earliest first. Empty only where there is no such
/// order: the first entry is written with it.
pub(crate) async fn list(pool: &PgPool, order_id: &str) -> Result<Vec<TimelineEntry>, sqlx::Error> {
    let rows: Vec<(String, DateTime<Utc>, String)> = sqlx::query_as(
        "SELECT status, at, source FROM order_timeline WHERE order_id = $1 ORDER BY at, id",
    )
    .bind(order_id)
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(word, at, source)| {
            Ok(TimelineEntry {
                status: parse_status(&word)?,
                at,
                source,
            })
        })
        .collect()
}
