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

/// Writes a new order. Answers its id, and when that is by the database's clock, as for all
/// that is held against its events.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    placement: &NewOrder,
    created_by: &str,
) -> Result<(String, DateTime<Utc>), sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO orders
             (client_id, requested_ship_date, items, notes, created_by, status, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
         RETURNING order_id, created_at",
    )
    .bind(&placement.client_id)
    .bind(placement.requested_ship_date)
    .bind(Json(&placement.items))
    .bind(&placement.notes)
    .bind(created_by)
    .bind(OrderStatus::Created.as_str())
    .fetch_one(transaction)
    .await
}

/// The orders of a client, or all of them, oldest first.
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

/// The next of the list after an order.
async fn fetch_chunk(
    pool: &PgPool,
    client_id: Option<&str>,
    after: Option<&(DateTime<Utc>, String)>,
    limit: i64,
) -> Result<ListChunk<OrderSummary>, sqlx::Error> {
    // Two statements: with "$1 IS NULL OR" neither would have a plan of its own.
    // Ids of one instant go by number, which their text does not.
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
        .bind(after.map(|(at, _)| *at))
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

/// An order.
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

/// Locks an order until the transaction ends. Answers its status.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    order_id: &str,
) -> Result<Option<OrderStatus>, sqlx::Error> {
    let word: Option<String> =
        sqlx::query_scalar("SELECT status FROM orders WHERE order_id = $1 FOR UPDATE")
            .bind(order_id)
            .fetch_optional(transaction)
            .await?;
    word.as_deref().map(parse_status).transpose()
}

/// Sets an order's status, and its shipment where there is one.
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
