//! What goes back for a dead letter.

use dm_contracts::{headers, topology};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;

use super::work::Held;
use crate::messaging::broker::Outgoing;
use crate::messaging::dead::letter::number;

/// The message that goes back: id, properties and body as they were unless somebody
/// changed them, one more round, and attempts counted anew.
pub(super) fn outgoing(held: &Held, to_exchange: bool) -> Outgoing {
    let Held { letter, .. } = held;
    let edited = held.entry.edited.as_ref();
    let properties = &held.delivery.properties;
    let mut table = FieldTable::default();
    let old = properties.headers().clone().unwrap_or_default();
    for (name, value) in old.inner() {
        // The broker writes it, and takes it from nobody.
        if name.as_str() != headers::ATTEMPTS && name.as_str() != "x-death" {
            table.insert(name.clone(), value.clone());
        }
    }
    let rounds = number(&old, headers::REPLAYS)
        .unwrap_or_default()
        .saturating_add(1);
    let rounds = i32::try_from(rounds).unwrap_or(i32::MAX);
    table.insert(headers::REPLAYS.into(), AMQPValue::LongInt(rounds));
    let (exchange, routing_key) = match &letter.routing_key {
        Some(key) if to_exchange => (topology::EVENTS.to_owned(), key.clone()),
        // The default exchange takes a queue's name for a key.
        _ => (String::new(), letter.queue.clone()),
    };
    let mut properties = persistent(properties.clone());
    if let Some(edited) = edited {
        let original = letter.id.as_deref().unwrap_or_default();
        table.insert(
            headers::EDITED.into(),
            AMQPValue::LongString(original.into()),
        );
        properties = properties.with_message_id(edited.id.as_str().into());
    }
    Outgoing {
        exchange,
        routing_key,
        mandatory: true,
        properties: properties.with_headers(table),
        body: edited.map_or_else(
            || held.delivery.data.clone(),
            |edited| edited.body.clone().into_bytes(),
        ),
    }
}

fn persistent(properties: BasicProperties) -> BasicProperties {
    const PERSISTENT: u8 = 2;
    // Without an id a return could not be told from another one.
    let id = properties.message_id().clone();
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string().into());
    properties
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id)
}
