//! profile-service: personal details and preferences of users.
//!
//! ```text
//! routes   HTTP routes
//! domain   validation of profiles, and the initial profile of a user
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
    name: "profile-service",
    port: 8091,
    details_style: DetailsStyle::EmptyList,
};

/// The database schema of this service.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "profile",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/profile");

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
