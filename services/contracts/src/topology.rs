//! The names of the broker's exchanges, queues and bindings. `dm` declares them from
//! `fixtures/rabbitmq/definitions.json`; services declare nothing.

/// The exchange of all events.
pub const EVENT_EXCHANGE: &str = "dm.domain.events";
/// The exchange of dead letters. The routing key is the name of the work queue.
pub const DEAD_LETTER_EXCHANGE: &str = "dm.domain.events.dlx";
/// The exchange of retries. The routing key is the name of the retry queue.
pub const RETRY_EXCHANGE: &str = "dm.domain.events.retry";

/// The work queue of inventory-service.
pub const INVENTORY_QUEUE: &str = "inventory.order-events.q";
/// The work queue of order-service.
pub const ORDER_QUEUE: &str = "order.inventory-events.q";
/// The work queue of wuphf-service.
pub const WUPHF_QUEUE: &str = "wuphf.domain-events.q";
/// The queue of the read model of notifications, for external consumers.
pub const READ_MODEL_QUEUE: &str = "notification.readmodel.q";

/// A queue that is bound to [`EVENT_EXCHANGE`], with its consumer and its bindings: a work queue,
/// or the queue of the read model, which no service consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventQueue {
    /// Name of the queue.
    pub name: &'static str,
    /// The service that consumes it; none for the read model.
    pub consumer: Option<&'static str>,
    /// The binding keys on [`EVENT_EXCHANGE`].
    pub bindings: &'static [&'static str],
}

/// Every queue that is bound to [`EVENT_EXCHANGE`], including the queue of the read model.
pub const EVENT_QUEUES: [EventQueue; 4] = [
    EventQueue {
        name: INVENTORY_QUEUE,
        consumer: Some("inventory-service"),
        bindings: &["order.created.v1", "order.cancelled.v1"],
    },
    EventQueue {
        name: ORDER_QUEUE,
        consumer: Some("order-service"),
        bindings: &[
            "inventory.stock.*.v1",
            "inventory.picking.started.v1",
            "shipment.dispatched.v1",
        ],
    },
    EventQueue {
        name: WUPHF_QUEUE,
        consumer: Some("wuphf-service"),
        bindings: &["order.*.v1", "shipment.*.v1", "finance.expense.*.v1"],
    },
    EventQueue {
        name: READ_MODEL_QUEUE,
        consumer: None,
        bindings: &["notification.created.v1"],
    },
];

/// The retry tier, named after the delay before a failed message is delivered again. The delay
/// itself is `x-message-ttl` in `fixtures/rabbitmq/definitions.json`.
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

    /// Returns the tier after this number of failures: the first two tiers three times each, then
    /// the longest.
    #[must_use]
    pub const fn after_failures(failures: u32) -> Self {
        match failures {
            0..=3 => Self::Second,
            4..=6 => Self::TenSeconds,
            _ => Self::Minute,
        }
    }

    /// Returns the suffix of the names of its retry queues.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::TenSeconds => "10s",
            Self::Minute => "60s",
        }
    }

    /// Returns the delay in seconds.
    #[must_use]
    pub const fn delay_seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::TenSeconds => 10,
            Self::Minute => 60,
        }
    }
}

/// Returns the name of the retry queue of a work queue.
#[must_use]
pub fn retry_queue(queue: &str, tier: RetryTier) -> String {
    format!("{queue}.retry.{}", tier.suffix())
}

/// Returns the name of the dead-letter queue of an event queue.
#[must_use]
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dlq")
}

/// Returns whether a binding key of a topic exchange matches a routing key: `*` matches one
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

/// Returns the queues that receive an event with this routing key.
pub fn queues_for(routing_key: &str) -> impl Iterator<Item = &'static EventQueue> {
    EVENT_QUEUES.iter().filter(move |queue| {
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
    fn star_matches_one_word_and_hash_any_number() {
        assert!(binding_matches("order.*.v1", "order.created.v1"));
        assert!(!binding_matches("order.*.v1", "order.status.changed.v1"));
        assert!(binding_matches("order.#", "order.status.changed.v1"));
        assert!(binding_matches("order.#", "order"));
        assert!(binding_matches("#.v1", "a.b.v1"));
        assert!(!binding_matches("#.v1", "a.b.v2"));
        assert!(!binding_matches("a.b", "a"));
    }

    #[test]
    fn event_is_routed_to_every_bound_queue() {
        let names = |key| queues_for(key).map(|queue| queue.name).collect::<Vec<_>>();
        assert_eq!(names("order.created.v1"), [INVENTORY_QUEUE, WUPHF_QUEUE]);
        assert_eq!(names("shipment.dispatched.v1"), [ORDER_QUEUE, WUPHF_QUEUE]);
        assert_eq!(names("inventory.stock.failed.v1"), [ORDER_QUEUE]);
        assert_eq!(names("inventory.picking.started.v1"), [ORDER_QUEUE]);
        assert_eq!(names("order.cancelled.v1"), [INVENTORY_QUEUE, WUPHF_QUEUE]);
        assert_eq!(names("order.reinstated.v1"), [WUPHF_QUEUE]);
        assert!(names("order.status.changed.v1").is_empty());
    }

    #[test]
    fn retry_delay_grows_up_to_a_minute() {
        let tiers: Vec<_> = (1..=8)
            .map(|failures| RetryTier::after_failures(failures).suffix())
            .collect();
        assert_eq!(tiers, ["1s", "1s", "1s", "10s", "10s", "10s", "60s", "60s"]);
        for tier in RetryTier::ALL {
            assert_eq!(tier.suffix(), format!("{}s", tier.delay_seconds()));
        }
    }

    /// The names of this module are those of the definitions that the broker imports.
    #[test]
    fn definitions_declare_every_exchange_queue_and_binding() {
        let text = include_str!("../../../fixtures/rabbitmq/definitions.json");
        let definitions: Value = serde_json::from_str(text).unwrap();
        let names = |list: &str| {
            definitions[list]
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
        for queue in EVENT_QUEUES {
            assert!(queues.contains(&queue.name.to_owned()));
            assert!(queues.contains(&dead_letter_queue(queue.name)));
            if queue.consumer.is_some() {
                for tier in RetryTier::ALL {
                    let name = retry_queue(queue.name, tier);
                    let mut declared = definitions["queues"].as_array().unwrap().iter();
                    let found = declared.find(|item| item["name"] == name).unwrap();
                    let delay = &found["arguments"]["x-message-ttl"];
                    assert_eq!(*delay, tier.delay_seconds() * 1000, "{name}");
                }
            }
            let bound: Vec<_> = definitions["bindings"]
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
