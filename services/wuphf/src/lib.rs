//! wuphf-service: notifications of users about their orders and expenses.
//!
//! ```text
//! events   events that cause notifications
//! routes   HTTP routes
//! domain   recipient and text of a notification
//! store    database table
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

/// The description of this service.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "wuphf-service",
    port: 8096,
    details_style: DetailsStyle::EmptyList,
};

/// The database schema of this service.
pub const SCHEMA: ServiceSchema = ServiceSchema {
    name: "notifications",
    migrations: &MIGRATIONS,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/notifications");

/// The default of `NOTIFICATION_RETENTION_MS`, the retention of a notification, read or not:
/// 90 days.
const DEFAULT_RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

/// Builds the service.
///
/// # Errors
/// Does not fail. The signature is the one that [`dm_kit::run`] requires.
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
