//! The table `reservations`.

use chrono::{DateTime, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::events::stock as stock_status;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::stock::{self, RequiredQuantities};

/// The status of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReservationStatus {
    /// The stock is reserved for the order.
    Reserved,
    /// An item was short: nothing is reserved.
    Failed,
    /// The order has left the warehouse.
    Dispatched,
    /// The order was cancelled: its quantities are free again.
    Released,
}

impl ReservationStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => stock_status::RESERVED,
            Self::Failed => stock_status::FAILED,
            Self::Dispatched => "DISPATCHED",
            Self::Released => "RELEASED",
        }
    }
}

/// Inserts the reservation of an order, and returns its id.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    order_id: &str,
    status: ReservationStatus,
    needs: &RequiredQuantities,
    at: DateTime<Utc>,
) -> Result<String, sqlx::Error> {
    let items: Vec<OrderItem> = needs
        .iter()
        .map(|(sku, &quantity)| OrderItem {
            sku: sku.clone(),
            quantity,
        })
        .collect();
    sqlx::query_scalar(
        "INSERT INTO reservations (order_id, status, items, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)
         RETURNING reservation_id",
    )
    .bind(order_id)
    .bind(status.as_str())
    .bind(Json(items))
    .bind(at)
    .fetch_one(transaction)
    .await
}

/// Closes the reservation of an order that is dispatched or cancelled, and returns its quantities.
///
/// # Errors
/// Returns [`sqlx::Error::RowNotFound`] if the order has no open reservation: its shipment
/// must not be dispatched then, and nothing can be released.
pub(crate) async fn close(
    transaction: &mut PgConnection,
    order_id: &str,
    status: ReservationStatus,
    at: DateTime<Utc>,
) -> Result<RequiredQuantities, sqlx::Error> {
    let items: Json<Vec<OrderItem>> = sqlx::query_scalar(
        "UPDATE reservations SET status = $3, updated_at = $4
          WHERE order_id = $1 AND status = $2
      RETURNING items",
    )
    .bind(order_id)
    .bind(ReservationStatus::Reserved.as_str())
    .bind(status.as_str())
    .bind(at)
    .fetch_one(transaction)
    .await?;
    Ok(stock::required_quantities(&items))
}
