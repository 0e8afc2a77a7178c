//! finance-service: expenses and their approval.
//!
//! ```text
//! routes   HTTP routes
//! domain   validation of expenses and decisions
//! store    database table
//! ```

mod domain;
mod routes;
mod store;

use dm_kit::http::DetailsStyle;
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

/// The description of this service.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "finance-service",
    port: 8095,
    details_style: DetailsStyle::Null,
};

/// The database schema of this service.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "finance",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/finance");

/// Builds the service.
///
/// # Errors
/// Does not fail. The signature is the one that [`dm_kit::run`] requires.
pub async fn build(
    platform: &mut Platform,
    _stop: &CancellationToken,
) -> Result<ServiceParts, StartError> {
    Ok(ServiceParts {
        routes: routes::router().with_state(platform.database.clone()),
        retention: Vec::new(),
    })
}
