//! inventory-service: shipments of the warehouse, and its stock.
//!
//! ```text
//! routes  HTTP: shipments, scan, dispatch; products and stock for tools
//! events  events of the order service: an order was created, or cancelled
//! domain  validation of requests, and stock arithmetic
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

/// The description of this service.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "inventory-service",
    port: 8094,
    details_style: DetailsStyle::Absent,
};

/// The database schema of this service.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "inventory",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/inventory");

/// The default of `STOCK_RESULT_PACE_MS`, the delay of a stock result: a list of orders right
/// after an order was placed shows it as `CREATED`.
const DEFAULT_RESULT_DELAY: Duration = Duration::from_secs(1);

/// Builds the service and loads the embedded catalogue.
///
/// # Errors
/// Returns [`StartError`] if the catalogue is invalid or cannot be stored.
pub async fn build(
    platform: &mut Platform,
    stop: &CancellationToken,
) -> Result<ServiceParts, StartError> {
    let queue = platform
        .environment
        .text_or("INVENTORY_ORDER_EVENTS_QUEUE", topology::INVENTORY_QUEUE);
    let result_delay = platform
        .environment
        .milliseconds("STOCK_RESULT_PACE_MS", DEFAULT_RESULT_DELAY);
    catalogue::load(&platform.database).await?;
    platform.consume(stop, queue, events::OrderEventHandler { result_delay });
    Ok(ServiceParts {
        routes: routes::router(platform.database.clone()),
        retention: Vec::new(),
    })
}
