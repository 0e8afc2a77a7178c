//! profile-service: who a user is, and what the user prefers.
//!
//! ```text
//! routes   what is asked, and what is answered
//! domain   which profiles are valid, and the one that a user begins with
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
    name: "profile-service",
    port: 8091,
    details_style: DetailsStyle::EmptyList,
};

/// Its schema.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "profile",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/profile");

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
