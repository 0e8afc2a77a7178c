//! The message that replays a dead letter.

use dm_amqp::header_value::{get_number, text_value};
use dm_contracts::{headers, topology};
use lapin::types::{AMQPValue, FieldTable};

use super::super::letter_reader::UnackedLetter;
use super::super::replay_audit::ReplayEntry;
use crate::broker::OutgoingMessage;

/// Returns the message that replays a letter: with the original id, properties and body unless
/// the letter was edited, the next round, and without the attempt count. Properties that the
/// broker acts on, such as an expiration or a user id, stay in a header.
pub(super) fn to_replay_message(
    entry: &ReplayEntry,
    unacked: &UnackedLetter,
    to_exchange: bool,
) -> OutgoingMessage {
    let letter = &unacked.letter;
    let edited = entry.replacement.as_ref();
    let mut original = unacked.original();
    let mut table = FieldTable::default();
    let old = original.properties.headers().clone().unwrap_or_default();
    for (name, value) in old.inner() {
        // Attempts and the letter id belong to one round; `x-death` describes the delivery that
        // failed.
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
        // The routing key of the default exchange is the name of a queue.
        _ => (String::new(), letter.queue.clone()),
    };
    if let Some(edited) = edited {
        let previous_id = letter.id.as_deref().unwrap_or_default();
        table.insert(headers::EDITED.into(), text_value(previous_id));
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
            || unacked.delivery.data.clone(),
            |edited| edited.body.clone().into_bytes(),
        ),
    }
}
