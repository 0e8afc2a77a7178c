//! order-service: orders and what becomes of them.
//!
//! ```text
//! routes  HTTP: list, place, detail, timeline
//! events  what inventory tells: reserved, failed, sent off
//! domain  what an order must have, and how far it may go
//! store   the tables `orders` and `order_timeline`
//! ```

mod domain;
mod events;
mod routes;
mod store;

use dm_contracts::topology;
use dm_kit::http::DetailsStyle;
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "order-service",
    port: 8093,
    details_style: DetailsStyle::Null,
};

/// Its schema.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "orders",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// Puts the service together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(
    platform: &mut Platform,
    stop: &CancellationToken,
) -> Result<ServiceParts, StartError> {
    let queue = platform
        .environment
        .text_or("ORDER_INVENTORY_EVENTS_QUEUE", topology::ORDER_QUEUE);
    platform.consume(stop, queue, events::InventoryEventHandler);
    Ok(ServiceParts {
        routes: routes::router(platform.database.clone()),
        retention: Vec::new(),
    })
}
