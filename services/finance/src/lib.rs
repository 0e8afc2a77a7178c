//! finance-service: expenses and the decisions on them.
//!
//! ```text
//! routes   what is asked, and what is answered
//! domain   which expenses and decisions are valid
//! store    the table
//! ```

mod domain;
mod routes;
mod store;

use dm_kit::http::DetailsStyle;
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "finance-service",
    port: 8095,
    details_style: DetailsStyle::Null,
};

/// Its schema.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "finance",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/finance");

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
