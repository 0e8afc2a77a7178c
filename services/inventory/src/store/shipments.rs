//! The table `shipments`.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::{Shipment, ShipmentStatus};
use dm_contracts::time;
use dm_kit::http::{ListFilter, ListOrder, NumberedTimeKey, TableList, TimeKey};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::domain::shipment::{self, NewShipment};

/// The dispatch of a shipment.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct DispatchRecord {
    pub(crate) dispatched_at: DateTime<Utc>,
    pub(crate) dispatched_by: String,
    pub(crate) truck_id: String,
    pub(crate) dispatch_id: String,
}

/// A shipment whose row is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedShipment {
    pub(crate) shipment_id: String,
    pub(crate) order_id: String,
    pub(crate) created_by: String,
    pub(crate) status: ShipmentStatus,
    /// The dispatch, if the shipment was dispatched.
    pub(crate) dispatch: Option<DispatchRecord>,
}

/// A row of the list of shipments.
#[derive(FromRow)]
pub(crate) struct ShipmentRow {
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

/// Parses a status from the table.
fn parse_status(name: &str) -> Result<ShipmentStatus, sqlx::Error> {
    ShipmentStatus::from_name(name).ok_or_else(|| {
        sqlx::Error::Decode(format!("`{name}` is not a status of a shipment").into())
    })
}

/// Inserts a new shipment. Returns `false` if its order has one, which is unchanged. Waits for a
/// concurrent transaction that inserts it.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    order: &NewShipment,
    status: ShipmentStatus,
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
    .bind(status.as_str())
    .bind(order.created_at)
    .bind(&order.created_by)
    .bind(time::now())
    .execute(transaction)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The filter of a list of shipments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShipmentFilter {
    /// All shipments.
    All,
    /// Shipments that can be dispatched: pending or loading.
    Open,
}

/// The list of shipments, oldest first.
pub(crate) struct ShipmentListSource {
    pub(crate) filter: ShipmentFilter,
}

impl TableList for ShipmentListSource {
    type Row = ShipmentRow;
    type Item = Shipment;
    type Key = NumberedTimeKey;

    const TABLE: &'static str = "shipments";
    const COLUMNS: &'static str = "shipment_id, order_id, client_id, status, \
                                   requested_ship_date, created_at, items";
    const ID: &'static str = "shipment_id";
    const ORDER: ListOrder = ListOrder::OldestFirst;

    fn filter(&self) -> ListFilter {
        // The condition of the partial index.
        let is_open = self.filter == ShipmentFilter::Open;
        ListFilter::all().condition("status IN ('PENDING', 'LOADING')", is_open)
    }

    fn item(row: ShipmentRow) -> Result<Shipment, sqlx::Error> {
        Ok(Shipment {
            status: parse_status(&row.status)?,
            shipment_id: row.shipment_id,
            order_id: row.order_id,
            client_id: row.client_id,
            requested_ship_date: row.requested_ship_date,
            created_at: row.created_at,
            items: row.items.0,
        })
    }

    fn key(shipment: &Shipment) -> NumberedTimeKey {
        NumberedTimeKey(TimeKey {
            created_at: shipment.created_at,
            id: shipment.shipment_id.clone(),
        })
    }
}

/// Locks a shipment until the transaction ends, and returns it.
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
        let dispatch = match (
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
            dispatch,
        })
    })
    .transpose()
}

/// Locks the shipment of an order until the transaction ends, and returns its status.
///
/// # Errors
/// Returns [`sqlx::Error::RowNotFound`] if the order has no shipment.
pub(crate) async fn lock_by_order(
    transaction: &mut PgConnection,
    order_id: &str,
) -> Result<ShipmentStatus, sqlx::Error> {
    let name: String =
        sqlx::query_scalar("SELECT status FROM shipments WHERE order_id = $1 FOR UPDATE")
            .bind(order_id)
            .fetch_one(transaction)
            .await?;
    parse_status(&name)
}

/// Sets the status of the shipment of an order. The time of the update is from the clock of the
/// database, with which reconcile compares it.
pub(crate) async fn set_status(
    transaction: &mut PgConnection,
    order_id: &str,
    status: ShipmentStatus,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE shipments SET status = $2, updated_at = clock_timestamp() WHERE order_id = $1",
    )
    .bind(order_id)
    .bind(status.as_str())
    .execute(transaction)
    .await?;
    Ok(())
}

/// Records the dispatch of a shipment. The time of the dispatch is from the request, the time of
/// the update from the clock of the database, with which reconcile compares it.
pub(crate) async fn mark_dispatched(
    transaction: &mut PgConnection,
    shipment_id: &str,
    dispatch: &DispatchRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE shipments
            SET status = $2, dispatched_at = $3, dispatched_by = $4, truck_id = $5,
                dispatch_id = $6, updated_at = clock_timestamp()
          WHERE shipment_id = $1",
    )
    .bind(shipment_id)
    .bind(ShipmentStatus::Dispatched.as_str())
    .bind(dispatch.dispatched_at)
    .bind(&dispatch.dispatched_by)
    .bind(&dispatch.truck_id)
    .bind(&dispatch.dispatch_id)
    .execute(transaction)
    .await?;
    Ok(())
}
