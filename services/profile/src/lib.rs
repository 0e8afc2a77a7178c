//! profile-service: personal details, preferences, avatars and app settings of users.
//!
//! ```text
//! routes            HTTP routes
//! domain            validation of profiles and app settings, conversion of images
//! avatar_converter  the limit on concurrent conversions
//! store             database tables
//! ```

mod avatar_converter;
mod domain;
mod routes;
mod store;

use dm_kit::http::DetailsStyle;
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

use crate::avatar_converter::AvatarConverter;
use crate::routes::RouteState;

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
    let state = RouteState {
        database: platform.database.clone(),
        converter: AvatarConverter::default(),
    };
    Ok(ServiceParts {
        routes: routes::router().with_state(state),
        retention: Vec::new(),
    })
}
