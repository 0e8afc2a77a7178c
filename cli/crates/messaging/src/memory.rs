//! How long outboxes, inboxes and notifications are kept, as the services are set up.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_components::rabbitmq;
use dm_config::Config;
use dm_contracts::topology::WORK_QUEUES;

/// How long outboxes and inboxes remember unless a service is set up otherwise.
pub(super) const CUSTOMARY: Duration = Duration::from_secs(30 * DAY);

/// How long notifications are kept unless their service is set up otherwise.
const NOTIFICATIONS_KEPT: Duration = Duration::from_secs(90 * DAY);

/// Longer than this is for ever: PostgreSQL can't reckon with all that a setting can say.
const FOR_EVER: Duration = Duration::from_secs(200 * 365 * DAY);

const DAY: u64 = 24 * 3600;

/// What tells a service how long its inbox remembers.
const INBOX: &str = "INBOX_RETENTION_MS";

/// What tells a service how long its outbox remembers.
const OUTBOX: &str = "OUTBOX_RETENTION_MS";

/// What tells a service how long it keeps notifications.
const NOTIFICATIONS: &str = "NOTIFICATION_RETENTION_MS";

/// How long a service keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Rows of its inbox, from when they were handled on.
    pub inbox: Duration,
    /// Rows of its outbox, from when they were published on.
    pub outbox: Duration,
    /// Its notifications, where it has some.
    pub notifications: Duration,
}

impl Memory {
    /// How long both inbox and outbox remember.
    #[must_use]
    pub fn of_events(&self) -> Duration {
        self.inbox.min(self.outbox)
    }

    fn of(environment: &BTreeMap<String, String>) -> Self {
        Self {
            inbox: kept(environment, INBOX, CUSTOMARY),
            outbox: kept(environment, OUTBOX, CUSTOMARY),
            notifications: kept(environment, NOTIFICATIONS, NOTIFICATIONS_KEPT),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(&BTreeMap::new())
    }
}

/// How long the inbox of each work queue remembers. A queue that no service consumes has
/// none.
#[must_use]
pub fn of_inboxes(config: &Config) -> BTreeMap<String, Duration> {
    let services = config.services.all();
    WORK_QUEUES
        .iter()
        .filter_map(|queue| {
            let consumer = queue.consumer?;
            let (_, service) = services
                .iter()
                .find(|(name, _)| rabbitmq::broker_user(name) == consumer)?;
            let inbox = Memory::of(&service.environment).inbox;
            Some((queue.name.to_owned(), inbox))
        })
        .collect()
}

/// How long each service keeps its rows.
#[must_use]
pub fn of_services(config: &Config) -> BTreeMap<String, Memory> {
    config
        .services
        .all()
        .into_iter()
        .map(|(name, service)| (name.to_owned(), Memory::of(&service.environment)))
        .collect()
}

fn kept(environment: &BTreeMap<String, String>, variable: &str, customary: Duration) -> Duration {
    let set = environment.get(variable);
    let set = set.and_then(|text| text.trim().parse().ok());
    set.map_or(customary, Duration::from_millis).min(FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_counts_and_what_is_too_long_is_for_ever() {
        let set = |name: &str, value: &str| Memory::of(&[(name.into(), value.into())].into());
        assert_eq!(set(INBOX, "1000").of_events(), Duration::from_secs(1));
        assert_eq!(set(OUTBOX, "1000").of_events(), Duration::from_secs(1));
        assert_eq!(
            set(NOTIFICATIONS, "60000").notifications,
            Duration::from_secs(60)
        );
        assert_eq!(set(INBOX, &u64::MAX.to_string()).inbox, FOR_EVER);
        assert_eq!(set("OTHER", "1"), Memory::default());
        assert_eq!(Memory::default().of_events(), CUSTOMARY);
    }
}
