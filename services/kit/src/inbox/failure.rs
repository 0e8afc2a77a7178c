//! What becomes of a message that could not be handled.

use dm_contracts::topology::{self, Tier};
use dm_contracts::{headers, time};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;

use super::HandlerError;
use crate::broker::{self, Outgoing};
use crate::trace::Trace;

/// How often an event is tried before it is a dead letter: nine times, over about
/// two and a half minutes.
const ATTEMPTS: u32 = 9;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// A stable word for it.
    pub(super) reason: &'static str,
    /// What went wrong.
    pub(super) error: String,
    /// Whether another attempt may help.
    pub(super) transient: bool,
}

impl From<&HandlerError> for Failure {
    fn from(error: &HandlerError) -> Self {
        let (reason, transient) = match error {
            HandlerError::Permanent { reason, .. } => (*reason, false),
            HandlerError::Transient(_) => ("attempts-exhausted", true),
            HandlerError::Database(_) => ("database", true),
        };
        Self {
            reason,
            error: error.to_string(),
            transient,
        }
    }
}

/// Where a failed message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Back to its queue, after a while.
    Retry(Tier),
    /// To the dead letters.
    Dead,
}

/// The fate of a message that failed so often, this time included.
pub(super) fn fate(failure: &Failure, attempts: u32) -> Fate {
    if failure.transient && attempts < ATTEMPTS {
        Fate::Retry(Tier::after(attempts))
    } else {
        Fate::Dead
    }
}

/// How often the message failed before.
pub(super) fn attempts(properties: &BasicProperties) -> u32 {
    broker::header_number(properties, headers::ATTEMPTS)
        .and_then(|attempts| u32::try_from(attempts).ok())
        .unwrap_or_default()
}

/// The message that takes a failed one to its fate. It keeps body, properties and
/// headers, and says in headers of ours what happened.
pub(super) fn message(
    delivery: &Delivery,
    queue: &str,
    service: &str,
    failure: &Failure,
    trace: &Trace,
) -> (Outgoing, Fate) {
    let attempts = attempts(&delivery.properties).saturating_add(1);
    let fate = fate(failure, attempts);
    let (exchange, routing_key) = match fate {
        Fate::Retry(tier) => (topology::RETRIES, topology::retry_queue(queue, tier)),
        Fate::Dead => (topology::DEAD_LETTERS, queue.to_owned()),
    };
    let text = |text: &str| AMQPValue::LongString(text.into());
    // On its way back from a retry queue it has that queue's key: the first one is
    // kept from the first failure on.
    let original = |name, now: &str| {
        broker::header(&delivery.properties, name).unwrap_or_else(|| now.to_owned())
    };
    let more = [
        (
            headers::ATTEMPTS,
            AMQPValue::LongInt(i32::try_from(attempts).unwrap_or(i32::MAX)),
        ),
        (headers::QUEUE, text(queue)),
        (headers::SERVICE, text(service)),
        (headers::REASON, text(failure.reason)),
        (headers::ERROR, text(&shorten(&failure.error))),
        (headers::TRACE_ID, text(&trace.trace_id)),
        (
            headers::EXCHANGE,
            text(&original(headers::EXCHANGE, delivery.exchange.as_str())),
        ),
        (
            headers::ROUTING_KEY,
            text(&original(
                headers::ROUTING_KEY,
                delivery.routing_key.as_str(),
            )),
        ),
        (headers::FAILED_AT, text(&time::format(time::now()))),
    ];
    let id = delivery.properties.message_id().as_ref().map_or_else(
        || format!("delivery-{}", delivery.delivery_tag),
        ToString::to_string,
    );
    let properties = broker::with_headers(&delivery.properties, more);
    let message = Outgoing {
        exchange: exchange.to_owned(),
        routing_key,
        mandatory: true,
        properties: broker::lasting(properties, &id),
        body: delivery.data.clone(),
    };
    (message, fate)
}

/// Headers share a frame: an error as long as a page has no place there.
fn shorten(error: &str) -> String {
    const LONGEST: usize = 1000;
    match error.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn failure(transient: bool) -> Failure {
        Failure {
            reason: "database",
            error: "it went away".into(),
            transient,
        }
    }

    fn delivery(headers: FieldTable) -> Delivery {
        let mut delivery = Delivery::mock(
            7,
            topology::EVENTS.into(),
            "order.created.v1".into(),
            false,
            b"body".to_vec(),
        );
        delivery.properties = BasicProperties::default()
            .with_message_id("evt_1".into())
            .with_headers(headers);
        delivery
    }

    #[test]
    fn a_fault_of_the_event_is_dead_at_once_and_others_are_tried_nine_times() {
        assert_eq!(fate(&failure(false), 1), Fate::Dead);
        assert_eq!(fate(&failure(true), 1), Fate::Retry(Tier::Second));
        assert_eq!(fate(&failure(true), 8), Fate::Retry(Tier::Minute));
        assert_eq!(fate(&failure(true), 9), Fate::Dead);
    }

    #[test]
    fn a_second_failure_remembers_the_first_key() {
        let trace = Trace::begin();
        let queue = topology::INVENTORY_QUEUE;
        let (first, _) = message(
            &delivery(FieldTable::default()),
            queue,
            "inventory-service",
            &failure(true),
            &trace,
        );
        assert_eq!(first.exchange, topology::RETRIES);
        assert_eq!(first.routing_key, "inventory.order-events.q.retry.1s");
        let mut back = delivery(first.properties.headers().clone().unwrap());
        back.exchange = "".into();
        back.routing_key = queue.into();
        let (second, fate) = message(&back, queue, "inventory-service", &failure(false), &trace);
        assert_eq!(
            (fate, broker::id(&second.properties)),
            (Fate::Dead, "evt_1")
        );
        let header = |name| broker::header(&second.properties, name).unwrap();
        assert_eq!(header(headers::ROUTING_KEY), "order.created.v1");
        assert_eq!(header(headers::EXCHANGE), topology::EVENTS);
        assert_eq!(header(headers::REASON), "database");
        assert_eq!(attempts(&second.properties), 2);
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let short = shorten(&"ü".repeat(2000));
        assert_eq!(short.chars().count(), 1001);
    }
}
