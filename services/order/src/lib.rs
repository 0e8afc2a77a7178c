//! order-service: orders and their status.
//!
//! ```text
//! routes  HTTP: list, place, detail, timeline, cancel
//! events  events of inventory: reserved, failed, picking started, dispatched
//! domain  validation of orders and cancellations, and status transitions
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

// inventory-service tests its decisions together with these, in every order of events.
pub use domain::cancellation::{CancelDecision, decide as decide_cancellation};
pub use domain::transition::{OrderFact, Transition, transition};

/// The description of this service.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "order-service",
    port: 8093,
    details_style: DetailsStyle::Null,
};

/// The database schema of this service.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "orders",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// Builds the service.
///
/// # Errors
/// Does not fail. The signature is the one that [`dm_kit::run`] requires.
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
