//! The table `orders`.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::{OrderDetail, OrderItem, OrderStatus, OrderSummary};
use dm_kit::http::{ListFilter, ListOrder, NumberedTimeKey, TableList, TimeKey};
use sqlx::postgres::PgPool;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use super::parse_status;
use crate::domain::placement::NewOrder;

#[derive(FromRow)]
struct OrderRow {
    order_id: String,
    client_id: String,
    requested_ship_date: NaiveDate,
    items: Json<Vec<OrderItem>>,
    notes: String,
    created_by: String,
    status: String,
    created_at: DateTime<Utc>,
    shipment_id: Option<String>,
    cancelled_at: Option<DateTime<Utc>>,
    cancelled_by: Option<String>,
    cancel_reason: Option<String>,
}

/// A row of the list of orders.
#[derive(FromRow)]
pub(crate) struct SummaryRow {
    order_id: String,
    client_id: String,
    status: String,
    requested_ship_date: NaiveDate,
    created_at: DateTime<Utc>,
}

/// Inserts a new order. Returns its id and its timestamp, from the clock of the database, with
/// which reconcile compares it to the event.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    order: &NewOrder,
    created_by: &str,
) -> Result<(String, DateTime<Utc>), sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO orders
             (client_id, requested_ship_date, items, notes, created_by, status, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
         RETURNING order_id, created_at",
    )
    .bind(&order.client_id)
    .bind(order.requested_ship_date)
    .bind(Json(&order.items))
    .bind(&order.notes)
    .bind(created_by)
    .bind(OrderStatus::Created.as_str())
    .fetch_one(transaction)
    .await
}

/// The list of orders, oldest first, optionally of one client or with one status.
pub(crate) struct OrderListSource {
    pub(crate) client_id: Option<String>,
    pub(crate) status: Option<OrderStatus>,
}

impl TableList for OrderListSource {
    type Row = SummaryRow;
    type Item = OrderSummary;
    type Key = NumberedTimeKey;

    const TABLE: &'static str = "orders";
    const COLUMNS: &'static str = "order_id, client_id, status, requested_ship_date, created_at";
    const ID: &'static str = "order_id";
    const ORDER: ListOrder = ListOrder::OldestFirst;

    fn filter(&self) -> ListFilter {
        ListFilter::all()
            .equal("client_id", self.client_id.as_deref())
            .equal("status", self.status.map(OrderStatus::as_str))
    }

    fn item(row: SummaryRow) -> Result<OrderSummary, sqlx::Error> {
        Ok(OrderSummary {
            status: parse_status(&row.status)?,
            order_id: row.order_id,
            client_id: row.client_id,
            requested_ship_date: row.requested_ship_date,
            created_at: row.created_at,
        })
    }

    fn key(order: &OrderSummary) -> NumberedTimeKey {
        NumberedTimeKey(TimeKey {
            created_at: order.created_at,
            id: order.order_id.clone(),
        })
    }
}

/// Returns an order.
pub(crate) async fn find(
    pool: &PgPool,
    order_id: &str,
) -> Result<Option<OrderDetail>, sqlx::Error> {
    let row: Option<OrderRow> = sqlx::query_as(
        "SELECT order_id, client_id, requested_ship_date, items, notes, created_by, status,
                created_at, shipment_id, cancelled_at, cancelled_by, cancel_reason
           FROM orders
          WHERE order_id = $1",
    )
    .bind(order_id)
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        Ok(OrderDetail {
            status: parse_status(&row.status)?,
            order_id: row.order_id,
            client_id: row.client_id,
            requested_ship_date: row.requested_ship_date,
            items: row.items.0,
            notes: row.notes,
            created_by: row.created_by,
            created_at: row.created_at,
            shipment_id: row.shipment_id,
            cancelled_at: row.cancelled_at,
            cancelled_by: row.cancelled_by,
            cancel_reason: row.cancel_reason,
        })
    })
    .transpose()
}

/// Locks an order until the transaction ends, and returns its status.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    order_id: &str,
) -> Result<Option<OrderStatus>, sqlx::Error> {
    let name: Option<String> =
        sqlx::query_scalar("SELECT status FROM orders WHERE order_id = $1 FOR UPDATE")
            .bind(order_id)
            .fetch_optional(transaction)
            .await?;
    name.as_deref().map(parse_status).transpose()
}

/// Sets the status of an order, and its shipment if one is given.
pub(crate) async fn set_status(
    transaction: &mut PgConnection,
    order_id: &str,
    status: OrderStatus,
    shipment_id: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE orders SET status = $2, shipment_id = coalesce($3, shipment_id)
          WHERE order_id = $1",
    )
    .bind(order_id)
    .bind(status.as_str())
    .bind(shipment_id)
    .execute(transaction)
    .await?;
    Ok(())
}
