//! The table `orders`.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::{OrderDetail, OrderItem, OrderStatus, OrderSummary};
use dm_kit::http::{ListChunk, ListSource};
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
}

#[derive(FromRow)]
struct SummaryRow {
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

/// The list of orders, oldest first, optionally of one client.
pub(crate) struct OrderListSource {
    pub(crate) pool: PgPool,
    pub(crate) client_id: Option<String>,
}

impl ListSource for OrderListSource {
    type Item = OrderSummary;
    type Key = (DateTime<Utc>, String);

    async fn fetch_after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> Result<ListChunk<OrderSummary>, sqlx::Error> {
        fetch_chunk(&self.pool, self.client_id.as_deref(), key, limit).await
    }

    fn key(item: &OrderSummary) -> Self::Key {
        (item.created_at, item.order_id.clone())
    }
}

/// Returns the next chunk of the list after an order.
async fn fetch_chunk(
    pool: &PgPool,
    client_id: Option<&str>,
    after: Option<&(DateTime<Utc>, String)>,
    limit: i64,
) -> Result<ListChunk<OrderSummary>, sqlx::Error> {
    // Separate statements: with "$1 IS NULL OR" both would share one plan.
    // Rows with equal timestamps are ordered by the number in their id, not by its text.
    let statement = match client_id {
        Some(_) => {
            "SELECT order_id, client_id, status, requested_ship_date, created_at
               FROM orders
              WHERE client_id = $1 AND created_at >= coalesce($2, '-infinity')
                AND (created_at, length(order_id), order_id)
                    > (coalesce($2, '-infinity'), length($3), $3)
              ORDER BY created_at, length(order_id), order_id
              LIMIT $4"
        }
        None => {
            "SELECT order_id, client_id, status, requested_ship_date, created_at
               FROM orders
              WHERE $1::text IS NULL AND created_at >= coalesce($2, '-infinity')
                AND (created_at, length(order_id), order_id)
                    > (coalesce($2, '-infinity'), length($3), $3)
              ORDER BY created_at, length(order_id), order_id
              LIMIT $4"
        }
    };
    let query = sqlx::query(statement)
        .bind(client_id)
        .bind(after.map(|(created_at, _)| *created_at))
        .bind(after.map_or("", |(_, id)| id))
        .bind(limit);
    ListChunk::<SummaryRow>::read(pool, query, limit)
        .await?
        .try_map(|row| {
            Ok(OrderSummary {
                status: parse_status(&row.status)?,
                order_id: row.order_id,
                client_id: row.client_id,
                requested_ship_date: row.requested_ship_date,
                created_at: row.created_at,
            })
        })
}

/// Returns an order.
pub(crate) async fn find(
    pool: &PgPool,
    order_id: &str,
) -> Result<Option<OrderDetail>, sqlx::Error> {
    let row: Option<OrderRow> = sqlx::query_as(
        "SELECT order_id, client_id, requested_ship_date, items, notes, created_by, status,
                created_at, shipment_id
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
