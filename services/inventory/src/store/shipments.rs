//! The table `shipments`.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::{Shipment, ShipmentStatus};
use dm_contracts::time;
use dm_kit::http::{ListChunk, ListSource};
use sqlx::postgres::PgPool;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::domain::shipment::{self, NewShipment};

/// How a shipment left.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct DispatchRecord {
    pub(crate) dispatched_at: DateTime<Utc>,
    pub(crate) dispatched_by: String,
    pub(crate) truck_id: String,
    pub(crate) dispatch_id: String,
}

/// A shipment that is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedShipment {
    pub(crate) shipment_id: String,
    pub(crate) order_id: String,
    pub(crate) created_by: String,
    pub(crate) status: ShipmentStatus,
    /// There where it is dispatched.
    pub(crate) dispatch: Option<DispatchRecord>,
}

#[derive(FromRow)]
struct ShipmentRow {
    shipment_id: String,
    order_id: String,
    client_id: String,
    status: String,
    requested_ship_date: NaiveDate,
    created_at: DateTime<Utc>,
    items: Json<Vec<OrderItem>>,
}

#[derive(FromRow)]
struct LockedShipmentRow {
    shipment_id: String,
    order_id: String,
    created_by: String,
    status: String,
    dispatched_at: Option<DateTime<Utc>>,
    dispatched_by: Option<String>,
    truck_id: Option<String>,
    dispatch_id: Option<String>,
}

/// A status as it stands in the table.
fn parse_status(word: &str) -> Result<ShipmentStatus, sqlx::Error> {
    ShipmentStatus::from_name(word).ok_or_else(|| {
        sqlx::Error::Decode(format!("`{word}` is not a status of a shipment").into())
    })
}

/// Writes a new shipment; `false` where its order has one, which then stays as it is.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    order: &NewShipment,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO shipments
             (shipment_id, order_id, client_id, requested_ship_date, items, status, created_at,
              created_by, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(shipment::id_for_order(&order.order_id))
    .bind(&order.order_id)
    .bind(&order.client_id)
    .bind(order.requested_ship_date)
    .bind(Json(&order.items))
    .bind(ShipmentStatus::Pending.as_str())
    .bind(order.created_at)
    .bind(&order.created_by)
    .bind(time::now())
    .execute(transaction)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Which shipments are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShipmentFilter {
    /// All of them.
    All,
    /// Those that have not left and can: pending or loading.
    Open,
}

/// Shipments, oldest first.
pub(crate) struct ShipmentListSource {
    pub(crate) pool: PgPool,
    pub(crate) filter: ShipmentFilter,
}

impl ListSource for ShipmentListSource {
    type Item = Shipment;
    type Key = (DateTime<Utc>, String);

    async fn fetch_after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> Result<ListChunk<Shipment>, sqlx::Error> {
        fetch_chunk(&self.pool, self.filter, key, limit).await
    }

    fn key(item: &Shipment) -> Self::Key {
        (item.created_at, item.shipment_id.clone())
    }
}

/// The next of the list after a shipment.
async fn fetch_chunk(
    pool: &PgPool,
    which: ShipmentFilter,
    after: Option<&(DateTime<Utc>, String)>,
    limit: i64,
) -> Result<ListChunk<Shipment>, sqlx::Error> {
    // Ids of one instant go by number, which their text does not.
    let statement = match which {
        ShipmentFilter::All => {
            "SELECT shipment_id, order_id, client_id, status, requested_ship_date,
                    created_at, items
               FROM shipments
              WHERE created_at >= coalesce($1, '-infinity')
                AND (created_at, length(shipment_id), shipment_id)
                    > (coalesce($1, '-infinity'), length($2), $2)
              ORDER BY created_at, length(shipment_id), shipment_id
              LIMIT $3"
        }
        ShipmentFilter::Open => {
            "SELECT shipment_id, order_id, client_id, status, requested_ship_date,
                    created_at, items
               FROM shipments
              WHERE status IN ('PENDING', 'LOADING')
                AND created_at >= coalesce($1, '-infinity')
                AND (created_at, length(shipment_id), shipment_id)
                    > (coalesce($1, '-infinity'), length($2), $2)
              ORDER BY created_at, length(shipment_id), shipment_id
              LIMIT $3"
        }
    };
    let query = sqlx::query(statement)
        .bind(after.map(|(at, _)| *at))
        .bind(after.map_or("", |(_, id)| id))
        .bind(limit);
    ListChunk::<ShipmentRow>::read(pool, query, limit)
        .await?
        .try_map(|row| {
            Ok(Shipment {
                status: parse_status(&row.status)?,
                shipment_id: row.shipment_id,
                order_id: row.order_id,
                client_id: row.client_id,
                requested_ship_date: row.requested_ship_date,
                created_at: row.created_at,
                items: row.items.0,
            })
        })
}

/// Locks a shipment until the transaction ends.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    shipment_id: &str,
) -> Result<Option<LockedShipment>, sqlx::Error> {
    let row: Option<LockedShipmentRow> = sqlx::query_as(
        "SELECT shipment_id, order_id, created_by, status, dispatched_at, dispatched_by,
                truck_id, dispatch_id
           FROM shipments
          WHERE shipment_id = $1
            FOR UPDATE",
    )
    .bind(shipment_id)
    .fetch_optional(transaction)
    .await?;
    row.map(|row| {
        let departed = match (
            row.dispatched_at,
            row.dispatched_by,
            row.truck_id,
            row.dispatch_id,
        ) {
            (Some(dispatched_at), Some(dispatched_by), Some(truck_id), Some(dispatch_id)) => {
                Some(DispatchRecord {
                    dispatched_at,
                    dispatched_by,
                    truck_id,
                    dispatch_id,
                })
            }
            _ => None,
        };
        Ok(LockedShipment {
            status: parse_status(&row.status)?,
            shipment_id: row.shipment_id,
            order_id: row.order_id,
            created_by: row.created_by,
            dispatch: departed,
        })
    })
    .transpose()
}

/// Sets the status of an order's shipment.
pub(crate) async fn set_status(
    transaction: &mut PgConnection,
    order_id: &str,
    status: ShipmentStatus,
    at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE shipments SET status = $2, updated_at = $3 WHERE order_id = $1")
        .bind(order_id)
        .bind(status.as_str())
        .bind(at)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Notes that a shipment left. When it did is what the caller says; when that was noted goes
/// by the database's clock.
pub(crate) async fn mark_dispatched(
    transaction: &mut PgConnection,
    shipment_id: &str,
    departed: &DispatchRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE shipments
            SET status = $2, dispatched_at = $3, dispatched_by = $4, truck_id = $5,
                dispatch_id = $6, updated_at = clock_timestamp()
          WHERE shipment_id = $1",
    )
    .bind(shipment_id)
    .bind(ShipmentStatus::Dispatched.as_str())
    .bind(departed.dispatched_at)
    .bind(&departed.dispatched_by)
    .bind(&departed.truck_id)
    .bind(&departed.dispatch_id)
    .execute(transaction)
    .await?;
    Ok(())
}
