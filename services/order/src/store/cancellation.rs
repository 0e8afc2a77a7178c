//! The cancellation of an order, in the table `orders`.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::{OrderItem, OrderStatus};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use super::parse_status;
use crate::domain::cancellation::Cancellation;

/// An order whose row is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedOrder {
    pub(crate) order_id: String,
    pub(crate) client_id: String,
    pub(crate) requested_ship_date: NaiveDate,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) status: OrderStatus,
    /// The cancellation, if the order was cancelled.
    pub(crate) cancellation: Option<Cancellation>,
}

#[derive(FromRow)]
struct LockedOrderRow {
    order_id: String,
    client_id: String,
    requested_ship_date: NaiveDate,
    items: Json<Vec<OrderItem>>,
    created_by: String,
    created_at: DateTime<Utc>,
    status: String,
    cancelled_at: Option<DateTime<Utc>>,
    cancelled_by: Option<String>,
    cancel_reason: Option<String>,
}

/// Locks an order until the transaction ends, and returns it.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    order_id: &str,
) -> Result<Option<LockedOrder>, sqlx::Error> {
    let row: Option<LockedOrderRow> = sqlx::query_as(
        "SELECT order_id, client_id, requested_ship_date, items, created_by, created_at, status,
                cancelled_at, cancelled_by, cancel_reason
           FROM orders
          WHERE order_id = $1
            FOR UPDATE",
    )
    .bind(order_id)
    .fetch_optional(transaction)
    .await?;
    row.map(|row| {
        let reason = row.cancel_reason;
        let cancellation = row.cancelled_at.zip(row.cancelled_by);
        Ok(LockedOrder {
            status: parse_status(&row.status)?,
            order_id: row.order_id,
            client_id: row.client_id,
            requested_ship_date: row.requested_ship_date,
            items: row.items.0,
            created_by: row.created_by,
            created_at: row.created_at,
            cancellation: cancellation.map(|(at, by)| Cancellation { at, by, reason }),
        })
    })
    .transpose()
}

/// Sets a locked order to `CANCELLED`. Returns the time of the cancellation, from the clock of the
/// database, with which reconcile compares it to the event.
pub(crate) async fn mark_cancelled(
    transaction: &mut PgConnection,
    order_id: &str,
    cancelled_by: &str,
    reason: Option<&str>,
) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE orders
            SET status = $2, cancelled_at = clock_timestamp(), cancelled_by = $3,
                cancel_reason = $4
          WHERE order_id = $1
      RETURNING cancelled_at",
    )
    .bind(order_id)
    .bind(OrderStatus::Cancelled.as_str())
    .bind(cancelled_by)
    .bind(reason)
    .fetch_one(transaction)
    .await
}
