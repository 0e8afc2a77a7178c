//! The broker's exchanges, queues and bindings by name. `dm` declares them from
//! `fixtures/rabbitmq/definitions.json`; services declare nothing.

/// Every event goes here.
pub const EVENT_EXCHANGE: &str = "dm.domain.events";
/// Dead letters; the key is the work queue's name.
pub const DEAD_LETTER_EXCHANGE: &str = "dm.domain.events.dlx";
/// Retries; the key is the retry queue's name.
pub const RETRY_EXCHANGE: &str = "dm.domain.events.retry";

/// What inventory consumes.
pub const INVENTORY_QUEUE: &str = "inventory.order-events.q";
/// What order consumes.
pub const ORDER_QUEUE: &str = "order.inventory-events.q";
/// What wuphf consumes.
pub const WUPHF_QUEUE: &str = "wuphf.domain-events.q";
/// The notifications' read model: consumed by whoever shows them elsewhere.
pub const READ_MODEL_QUEUE: &str = "notification.readmodel.q";

/// A queue, the service that consumes it, and what is bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkQueue {
    /// The queue.
    pub name: &'static str,
    /// Who consumes it; nobody for the read model.
    pub consumer: Option<&'static str>,
    /// The binding keys on [`EVENTS`].
    pub bindings: &'static [&'static str],
}

/// Every queue that is bound to [`EVENTS`].
pub const WORK_QUEUES: [WorkQueue; 4] = [
    WorkQueue {
        name: INVENTORY_QUEUE,
        consumer: Some("inventory-service"),
        bindings: &["order.created.v1"],
    },
    WorkQueue {
        name: ORDER_QUEUE,
        consumer: Some("order-service"),
        bindings: &["inventory.stock.*.v1", "shipment.dispatched.v1"],
    },
    WorkQueue {
        name: WUPHF_QUEUE,
        consumer: Some("wuphf-service"),
        bindings: &["order.*.v1", "shipment.*.v1", "finance.expense.*.v1"],
    },
    WorkQueue {
        name: READ_MODEL_QUEUE,
        consumer: None,
        bindings: &["notification.created.v1"],
    },
];

/// How long a failed message waits before it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryTier {
    /// One second.
    Second,
    /// Ten seconds.
    TenSeconds,
    /// One minute.
    Minute,
}

impl RetryTier {
    /// Every tier, shortest first.
    pub const ALL: [Self; 3] = [Self::Second, Self::TenSeconds, Self::Minute];

    /// The tier after so many failures: three each, then the longest for good.
    #[must_use]
    pub const fn after_failures(failures: u32) -> Self {
        match failures {
            0..=3 => Self::Second,
            4..=6 => Self::TenSeconds,
            _ => Self::Minute,
        }
    }

    /// How it ends a queue's name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::TenSeconds => "10s",
            Self::Minute => "60s",
        }
    }
}

/// The retry queue of a work queue.
#[must_use]
pub fn retry_queue(queue: &str, tier: RetryTier) -> String {
    format!("{queue}.retry.{}", tier.suffix())
}

/// The dead-letter queue of a work queue.
#[must_use]
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dlq")
}

/// Whether a binding key of a topic exchange takes a routing key: `*` is one
/// word, `#` any number of words.
#[must_use]
pub fn binding_matches(binding: &str, routing_key: &str) -> bool {
    fn words_match(binding: &[&str], key: &[&str]) -> bool {
        match (binding.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => {
                words_match(rest, key)
                    || key
                        .split_first()
                        .is_some_and(|(_, key)| words_match(binding, key))
            }
            (Some((word, rest)), Some((first, key))) => {
                (*word == "*" || word == first) && words_match(rest, key)
            }
            _ => false,
        }
    }
    let binding: Vec<_> = binding.split('.').collect();
    let key: Vec<_> = routing_key.split('.').collect();
    words_match(&binding, &key)
}

/// The queues that get an event with this routing key.
pub fn queues_for(routing_key: &str) -> impl Iterator<Item = &'static WorkQueue> {
    WORK_QUEUES.iter().filter(move |queue| {
        queue
            .bindings
            .iter()
            .any(|binding| binding_matches(binding, routing_key))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_star_is_one_word_and_a_hash_any_number() {
        assert!(binding_matches("order.*.v1", "order.created.v1"));
        assert!(!binding_matches("order.*.v1", "order.status.changed.v1"));
        assert!(binding_matches("order.#", "order.status.changed.v1"));
        assert!(binding_matches("order.#", "order"));
        assert!(binding_matches("#.v1", "a.b.v1"));
        assert!(!binding_matches("#.v1", "a.b.v2"));
        assert!(!binding_matches("a.b", "a"));
    }

    #[test]
    fn events_reach_who_wants_them() {
        let names = |key| queues_for(key).map(|queue| queue.name).collect::<Vec<_>>();
        assert_eq!(names("order.created.v1"), [INVENTORY_QUEUE, WUPHF_QUEUE]);
        assert_eq!(names("shipment.dispatched.v1"), [ORDER_QUEUE, WUPHF_QUEUE]);
        assert_eq!(names("inventory.stock.failed.v1"), [ORDER_QUEUE]);
        assert!(names("order.status.changed.v1").is_empty());
    }

    #[test]
    fn delays_grow_and_stay() {
        let tiers: Vec<_> = (1..=8)
            .map(|n| RetryTier::after_failures(n).suffix())
            .collect();
        assert_eq!(tiers, ["1s", "1s", "1s", "10s", "10s", "10s", "60s", "60s"]);
    }

    /// The names here and the definitions that the broker gets are one thing.
    #[test]
    fn the_fixture_declares_all_of_it() {
        let text = include_str!("../../../fixtures/rabbitmq/definitions.json");
        let fixture: Value = serde_json::from_str(text).unwrap();
        let names = |list: &str| {
            fixture[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("exchanges"),
            [EVENT_EXCHANGE, DEAD_LETTER_EXCHANGE, RETRY_EXCHANGE]
        );
        let queues = names("queues");
        for queue in WORK_QUEUES {
            assert!(queues.contains(&queue.name.to_owned()));
            assert!(queues.contains(&dead_letter_queue(queue.name)));
            if queue.consumer.is_some() {
                for tier in RetryTier::ALL {
                    assert!(queues.contains(&retry_queue(queue.name, tier)));
                }
            }
            let bound: Vec<_> = fixture["bindings"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|binding| {
                    binding["source"] == EVENT_EXCHANGE && binding["destination"] == queue.name
                })
                .map(|binding| binding["routing_key"].as_str().unwrap())
                .collect();
            assert_eq!(bound, queue.bindings);
        }
    }
}
