//! How long outboxes, inboxes and notifications are kept, as the services are set up.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_components::rabbitmq;
use dm_config::Config;
use dm_contracts::topology::WORK_QUEUES;

/// How long outboxes and inboxes remember unless a service is set up otherwise.
pub(super) const DEFAULT_EVENT_RETENTION: Duration = Duration::from_secs(30 * SECONDS_PER_DAY);

/// How long notifications are kept unless their service is set up otherwise.
const DEFAULT_NOTIFICATION_RETENTION: Duration = Duration::from_secs(90 * SECONDS_PER_DAY);

/// Longer than this is for ever: PostgreSQL can't reckon with all that a setting can say.
const MAX_RETENTION: Duration = Duration::from_secs(200 * 365 * SECONDS_PER_DAY);

const SECONDS_PER_DAY: u64 = 24 * 3600;

/// What tells a service how long its inbox remembers.
const INBOX_RETENTION_ENV: &str = "INBOX_RETENTION_MS";

/// What tells a service how long its outbox remembers.
const OUTBOX_RETENTION_ENV: &str = "OUTBOX_RETENTION_MS";

/// What tells a service how long it keeps notifications.
const NOTIFICATION_RETENTION_ENV: &str = "NOTIFICATION_RETENTION_MS";

/// How long a service keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRetention {
    /// Rows of its inbox, from when they were handled on.
    pub inbox: Duration,
    /// Rows of its outbox, from when they were published on.
    pub outbox: Duration,
    /// Its notifications, where it has some.
    pub notifications: Duration,
}

impl ServiceRetention {
    /// How long both inbox and outbox remember.
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

/// How long the inbox of each work queue remembers. A queue that no service consumes has
/// none.
#[must_use]
pub fn inbox_retention_by_queue(config: &Config) -> BTreeMap<String, Duration> {
    let services = config.services.all();
    WORK_QUEUES
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

/// How long each service keeps its rows.
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
    customary: Duration,
) -> Duration {
    let set = environment.get(variable);
    let set = set.and_then(|text| text.trim().parse().ok());
    set.map_or(customary, Duration::from_millis)
        .min(MAX_RETENTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_counts_and_what_is_too_long_is_for_ever() {
        let set = |name: &str, value: &str| {
            ServiceRetention::from_environment(&[(name.into(), value.into())].into())
        };
        assert_eq!(
            set(INBOX_RETENTION_ENV, "1000").event_retention(),
            Duration::from_secs(1)
        );
        assert_eq!(
            set(OUTBOX_RETENTION_ENV, "1000").event_retention(),
            Duration::from_secs(1)
        );
        assert_eq!(
            set(NOTIFICATION_RETENTION_ENV, "60000").notifications,
            Duration::from_secs(60)
        );
        assert_eq!(
            set(INBOX_RETENTION_ENV, &u64::MAX.to_string()).inbox,
            MAX_RETENTION
        );
        assert_eq!(set("OTHER", "1"), ServiceRetention::default());
        assert_eq!(
            ServiceRetention::default().event_retention(),
            DEFAULT_EVENT_RETENTION
        );
    }
}
