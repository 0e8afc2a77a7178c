//! How long outboxes and inboxes remember, as the services are set up.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_contracts::topology::WORK_QUEUES;

use crate::components::rabbitmq;
use crate::config::Config;

/// How long they do unless a service is told otherwise.
pub(super) const CUSTOMARY: Duration = Duration::from_secs(30 * 24 * 3600);

/// What tells a service how long its inbox remembers.
const INBOX: &str = "INBOX_RETENTION_MS";

/// What tells a service how long its outbox remembers.
const OUTBOX: &str = "OUTBOX_RETENTION_MS";

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
            Some((queue.name.to_owned(), kept(&service.environment, INBOX)))
        })
        .collect()
}

/// How long both tables of each service remember.
#[must_use]
pub fn of_services(config: &Config) -> BTreeMap<String, Duration> {
    config
        .services
        .all()
        .into_iter()
        .map(|(name, service)| {
            let set = &service.environment;
            (name.to_owned(), kept(set, INBOX).min(kept(set, OUTBOX)))
        })
        .collect()
}

fn kept(environment: &BTreeMap<String, String>, variable: &str) -> Duration {
    let set = environment.get(variable).and_then(|text| text.parse().ok());
    set.map_or(CUSTOMARY, Duration::from_millis)
}
