//! The message of an event.

use dm_contracts::{envelope, headers, topology};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::store::Pending;
use crate::broker::{self, Outgoing};

/// The longest text that AMQP has room for in a routing key, a type or an id, in bytes.
const SHORT: usize = 255;

/// What is said of an event that AMQP has no room for.
pub(super) const UNFIT: &str = "its routing key, type or id is longer than AMQP allows";

/// Whether a row's texts fit into a message. To try one that doesn't costs the connection.
pub(super) fn is_fit(pending: &Pending) -> bool {
    [&pending.routing_key, &pending.event_type, &pending.event_id]
        .iter()
        .all(|text| text.len() <= SHORT)
}

/// The message of a row. It takes the envelope with it.
pub(super) fn message(pending: &mut Pending) -> Outgoing {
    let mut table = FieldTable::default();
    if let Some(parent) = &pending.traceparent {
        table.insert(
            headers::TRACEPARENT.into(),
            AMQPValue::LongString(parent.as_str().into()),
        );
    }
    let properties = BasicProperties::default()
        .with_content_type(envelope::CONTENT_TYPE.into())
        .with_type(pending.event_type.as_str().into())
        .with_headers(table);
    Outgoing {
        exchange: topology::EVENTS.to_owned(),
        // Some events are for outside use: no queue here takes them.
        mandatory: topology::queues_for(&pending.routing_key).next().is_some(),
        routing_key: pending.routing_key.clone(),
        properties: broker::lasting(properties, &pending.event_id),
        body: pending.payload.take().unwrap_or_default().into_bytes(),
    }
}
