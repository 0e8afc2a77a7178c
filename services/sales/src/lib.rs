//! sales-service: leads, and the clients that they become.
//!
//! ```text
//! routes   what is asked, and what is answered
//! domain   which leads are valid, and which can become clients
//! store    the tables
//! ```

mod domain;
mod routes;
mod store;

use dm_kit::http::DetailsStyle;
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "sales-service",
    port: 8092,
    details_style: DetailsStyle::EmptyList,
};

/// Its schema.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "sales",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/sales");

/// Puts the service together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(
    platform: &mut Platform,
    _stop: &CancellationToken,
) -> Result<ServiceParts, StartError> {
    Ok(ServiceParts {
        routes: routes::router().with_state(platform.database.clone()),
        retention: Vec::new(),
    })
}
