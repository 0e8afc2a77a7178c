//! wuphf-service.

use dm_kit::http::{DetailsStyle, OpenApiRouter};
use dm_kit::{Description, Parts, Platform, Schema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: Description = Description {
    name: "wuphf-service",
    port: 8096,
    details: DetailsStyle::EmptyList,
};

/// Its schema.
pub const SCHEMA: Schema = Schema {
    name: "notifications",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/notifications");

/// Puts the service together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(
    _platform: &mut Platform,
    _stop: &CancellationToken,
) -> Result<Parts, StartError> {
    Ok(Parts {
        routes: OpenApiRouter::new(),
        retention: Vec::new(),
    })
}
