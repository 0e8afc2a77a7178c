//! The configured retention periods of outboxes, inboxes and notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_components::rabbitmq;
use dm_config::Config;
use dm_contracts::topology::EVENT_QUEUES;

/// The default retention of outboxes and inboxes.
pub(super) const DEFAULT_EVENT_RETENTION: Duration = Duration::from_secs(30 * SECONDS_PER_DAY);

/// The default retention of notifications.
const DEFAULT_NOTIFICATION_RETENTION: Duration = Duration::from_secs(90 * SECONDS_PER_DAY);

/// The maximum retention: longer settings exceed the range of PostgreSQL timestamps.
const MAX_RETENTION: Duration = Duration::from_secs(200 * 365 * SECONDS_PER_DAY);

const SECONDS_PER_DAY: u64 = 24 * 3600;

/// The variable with the retention of the inbox.
const INBOX_RETENTION_ENV: &str = "INBOX_RETENTION_MS";

/// The variable with the retention of the outbox.
const OUTBOX_RETENTION_ENV: &str = "OUTBOX_RETENTION_MS";

/// The variable with the retention of notifications.
const NOTIFICATION_RETENTION_ENV: &str = "NOTIFICATION_RETENTION_MS";

/// The retention periods of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRetention {
    /// The retention of inbox rows, from the instant of processing.
    pub inbox: Duration,
    /// The retention of outbox rows, from the instant of publishing.
    pub outbox: Duration,
    /// The retention of notifications.
    pub notifications: Duration,
}

impl ServiceRetention {
    /// Returns the shorter one of the retention periods of inbox and outbox.
    #[must_use]
    pub fn event_retention(&self) -> Duration {
        self.inbox.min(self.outbox)
    }

    fn from_environment(environment: &BTreeMap<String, String>) -> Self {
        Self {
            inbox: read_retention(environment, INBOX_RETENTION_ENV, DEFAULT_EVENT_RETENTION),
            outbox: read_retention(environment, OUTBOX_RETENTION_ENV, DEFAULT_EVENT_RETENTION),
            notifications: read_retention(
                environment,
                NOTIFICATION_RETENTION_ENV,
                DEFAULT_NOTIFICATION_RETENTION,
            ),
        }
    }
}

impl Default for ServiceRetention {
    fn default() -> Self {
        Self::from_environment(&BTreeMap::new())
    }
}

/// Returns the inbox retention by work queue. Queues that no service consumes have no entry.
#[must_use]
pub fn inbox_retention_by_queue(config: &Config) -> BTreeMap<String, Duration> {
    let services = config.services.all();
    EVENT_QUEUES
        .iter()
        .filter_map(|queue| {
            let consumer = queue.consumer?;
            let (_, service) = services
                .iter()
                .find(|(name, _)| rabbitmq::broker_user(name) == consumer)?;
            let inbox = ServiceRetention::from_environment(&service.environment).inbox;
            Some((queue.name.to_owned(), inbox))
        })
        .collect()
}

/// Returns the retention periods by service.
#[must_use]
pub fn retention_by_service(config: &Config) -> BTreeMap<String, ServiceRetention> {
    config
        .services
        .all()
        .into_iter()
        .map(|(name, service)| {
            (
                name.to_owned(),
                ServiceRetention::from_environment(&service.environment),
            )
        })
        .collect()
}

fn read_retention(
    environment: &BTreeMap<String, String>,
    variable: &str,
    default: Duration,
) -> Duration {
    let value = environment.get(variable);
    let millis = value.and_then(|text| text.trim().parse().ok());
    millis
        .map_or(default, Duration::from_millis)
        .min(MAX_RETENTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_read_from_the_environment_and_capped() {
        let retention_with = |name: &str, value: &str| {
            ServiceRetention::from_environment(&[(name.into(), value.into())].into())
        };
        assert_eq!(
            retention_with(INBOX_RETENTION_ENV, "1000").event_retention(),
            Duration::from_secs(1)
        );
        assert_eq!(
            retention_with(OUTBOX_RETENTION_ENV, "1000").event_retention(),
            Duration::from_secs(1)
        );
        assert_eq!(
            retention_with(NOTIFICATION_RETENTION_ENV, "60000").notifications,
            Duration::from_secs(60)
        );
        assert_eq!(
            retention_with(INBOX_RETENTION_ENV, &u64::MAX.to_string()).inbox,
            MAX_RETENTION
        );
        assert_eq!(retention_with("OTHER", "1"), ServiceRetention::default());
        assert_eq!(
            ServiceRetention::default().event_retention(),
            DEFAULT_EVENT_RETENTION
        );
    }
}
