//! inventory-service: the warehouse's shipments, and what is in stock.
//!
//! ```text
//! routes  HTTP: shipments, scan, dispatch; products and stock for tools
//! events  what order tells: an order was placed
//! domain  what a request must have, and the arithmetic of stock
//! store   the tables of the schema `inventory`
//! ```

mod catalogue;
mod domain;
mod events;
mod routes;
mod store;

use std::time::Duration;

use dm_contracts::topology;
use dm_kit::http::DetailsStyle;
use dm_kit::{Description, Parts, Platform, Schema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: Description = Description {
    name: "inventory-service",
    port: 8094,
    details: DetailsStyle::Absent,
};

/// Its schema.
pub const SCHEMA: Schema = Schema {
    name: "inventory",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/inventory");

/// How long a stock result is held back unless `STOCK_RESULT_PACE_MS` says
/// otherwise: whoever lists orders right after placing one finds it `CREATED`.
const PACE: Duration = Duration::from_secs(1);

/// Puts the service together.
///
/// # Errors
/// Where a setting, or the catalogue that is compiled in, can't be used.
pub async fn build(platform: &mut Platform, stop: &CancellationToken) -> Result<Parts, StartError> {
    let queue = platform
        .environment
        .text_or("INVENTORY_ORDER_EVENTS_QUEUE", topology::INVENTORY_QUEUE);
    let pace = platform
        .environment
        .milliseconds("STOCK_RESULT_PACE_MS", PACE);
    catalogue::take_in(&platform.database).await?;
    platform.consume(stop, queue, events::Reception { pace });
    Ok(Parts {
        routes: routes::all(platform.database.clone()),
        retention: Vec::new(),
    })
}
