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
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "inventory-service",
    port: 8094,
    details_style: DetailsStyle::Absent,
};

/// Its schema.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "inventory",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/inventory");

/// How long a stock result is held back unless `STOCK_RESULT_PACE_MS` says
/// otherwise: whoever lists orders right after placing one finds it `CREATED`.
const DEFAULT_RESULT_DELAY: Duration = Duration::from_secs(1);

/// Puts the service together.
///
/// # Errors
/// Where a setting, or the catalogue that is compiled in, can't be used.
pub async fn build(
    platform: &mut Platform,
    stop: &CancellationToken,
) -> Result<ServiceParts, StartError> {
    let queue = platform
        .environment
        .text_or("INVENTORY_ORDER_EVENTS_QUEUE", topology::INVENTORY_QUEUE);
    let pace = platform
        .environment
        .milliseconds("STOCK_RESULT_PACE_MS", DEFAULT_RESULT_DELAY);
    catalogue::load(&platform.database).await?;
    platform.consume(
        stop,
        queue,
        events::OrderEventHandler { result_delay: pace },
    );
    Ok(ServiceParts {
        routes: routes::router(platform.database.clone()),
        retention: Vec::new(),
    })
}
