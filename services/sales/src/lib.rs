//! sales-service.

use dm_kit::http::{DetailsStyle, OpenApiRouter};
use dm_kit::{Description, Parts, Platform, Schema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: Description = Description {
    name: "sales-service",
    port: 8092,
    details: DetailsStyle::EmptyList,
};

/// Its schema.
pub const SCHEMA: Schema = Schema {
    name: "sales",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/sales");

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
