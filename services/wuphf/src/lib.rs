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
use dm_kit::retention::Rule;
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

/// How long a notification is kept, read or not, unless
/// `NOTIFICATION_RETENTION_MS` says otherwise: 90 days.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// Puts the service together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(platform: &mut Platform, stop: &CancellationToken) -> Result<Parts, StartError> {
    let environment = &mut platform.environment;
    let queue = environment.text_or("WUPHF_QUEUE", topology::WUPHF_QUEUE);
    let keep = environment.milliseconds("NOTIFICATION_RETENTION_MS", KEPT);
    platform.consume(stop, queue, events::Notifier);
    Ok(Parts {
        routes: routes::all().with_state(platform.database.clone()),
        retention: vec![Rule {
            table: "notifications",
            since: "created_at",
            keep,
            rest: None,
        }],
    })
}
