//! inventory-service.

use dm_kit::http::{DetailsStyle, OpenApiRouter};
use dm_kit::{Description, Parts, Platform, Schema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: Description = Description {
    name: "inventory-service",
    port: 8094,
    details: DetailsStyle::Absent,
};

/// Its schema.
pub const SCHEMA: Schema = Schema {
    name: "inventory",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/inventory");

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
