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
use dm_kit::{Description, Parts, Platform, Schema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: Description = Description {
    name: "profile-service",
    port: 8091,
    details: DetailsStyle::EmptyList,
};

/// Its schema.
pub const SCHEMA: Schema = Schema {
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
) -> Result<Parts, StartError> {
    Ok(Parts {
        routes: routes::all().with_state(platform.database.clone()),
        retention: Vec::new(),
    })
}
