//! What goes back for a dead letter.

use dm_amqp::header::{get_number, text_value};
use dm_contracts::{headers, topology};
use lapin::types::{AMQPValue, FieldTable};

use super::super::letter_reader::UnackedLetter;
use super::super::replay_audit::ReplayEntry;
use crate::broker::OutgoingMessage;

/// The message that goes back: id, properties and body as they were unless somebody
/// changed them, one more round, and attempts counted anew. What the broker would act on,
/// an expiration or a user's name, stays in a header of ours.
pub(super) fn to_replay_message(
    entry: &ReplayEntry,
    found: &UnackedLetter,
    to_exchange: bool,
) -> OutgoingMessage {
    let letter = &found.letter;
    let edited = entry.replacement.as_ref();
    let mut original = found.original();
    let mut table = FieldTable::default();
    let old = original.properties.headers().clone().unwrap_or_default();
    for (name, value) in old.inner() {
        // Attempts count for a round, and so does a letter; the broker's own history is of
        // the way that ended here.
        if ![headers::ATTEMPTS, headers::LETTER, "x-death"].contains(&name.as_str()) {
            table.insert(name.clone(), value.clone());
        }
    }
    let rounds = get_number(&old, headers::REPLAYS)
        .unwrap_or_default()
        .saturating_add(1);
    let rounds = i32::try_from(rounds).unwrap_or(i32::MAX);
    table.insert(headers::REPLAYS.into(), AMQPValue::LongInt(rounds));
    let (exchange, routing_key) = match &letter.routing_key {
        Some(key) if to_exchange => (topology::EVENT_EXCHANGE.to_owned(), key.clone()),
        // The default exchange takes a queue's name for a key.
        _ => (String::new(), letter.queue.clone()),
    };
    if let Some(edited) = edited {
        let before = letter.id.as_deref().unwrap_or_default();
        table.insert(headers::EDITED.into(), text_value(before));
        original.properties = original
            .properties
            .with_message_id(edited.id.as_str().into());
    }
    original.properties = original.properties.with_headers(table);
    OutgoingMessage {
        exchange,
        routing_key,
        mandatory: true,
        properties: original.to_copy_properties(false),
        body: edited.map_or_else(
            || found.delivery.data.clone(),
            |edited| edited.body.clone().into_bytes(),
        ),
    }
}
