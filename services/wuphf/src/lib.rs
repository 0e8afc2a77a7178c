//! wuphf-service: tells users what happened to what is theirs.
//!
//! ```text
//! events   what happened
//! routes   what is asked, and what is answered
//! domain   who is told of an event, and in which words
//! store    the table
//! ```

mod domain;
mod events;
mod routes;
mod store;

use std::time::Duration;

use dm_contracts::topology;
use dm_kit::http::DetailsStyle;
use dm_kit::retention::RetentionRule;
use dm_kit::{Platform, ServiceInfo, ServiceParts, ServiceSchema, StartError};
use tokio_util::sync::CancellationToken;

/// What this service is.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "wuphf-service",
    port: 8096,
    details_style: DetailsStyle::EmptyList,
};

/// Its schema.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "notifications",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/notifications");

/// How long a notification is kept, read or not, unless
/// `NOTIFICATION_RETENTION_MS` says otherwise: 90 days.
const DEFAULT_RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

/// Puts the service together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(
    platform: &mut Platform,
    stop: &CancellationToken,
) -> Result<ServiceParts, StartError> {
    let environment = &mut platform.environment;
    let queue = environment.text_or("WUPHF_QUEUE", topology::WUPHF_QUEUE);
    let retention = environment.milliseconds("NOTIFICATION_RETENTION_MS", DEFAULT_RETENTION);
    platform.consume(stop, queue, events::NotificationHandler);
    Ok(ServiceParts {
        routes: routes::router().with_state(platform.database.clone()),
        retention: vec![RetentionRule {
            table: "notifications",
            timestamp_column: "created_at",
            retention,
            tombstone: None,
        }],
    })
}
