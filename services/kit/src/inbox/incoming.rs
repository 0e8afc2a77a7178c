//! A delivery, understood.

use dm_amqp::OriginalMessage;
use dm_amqp::header::get_number;
use dm_amqp::letter_id::LetterMessage;
use dm_contracts::envelope::{EnvelopeError, EventAttributes};
use dm_contracts::{Envelope, events, headers};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::FieldTable;

/// What the broker wrote of a delivery: no part of the message.
const DELIVERY_HEADERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// A message of a work queue, and which one it is.
#[derive(Debug)]
pub(super) struct IncomingMessage {
    /// Its properties as its publisher gave them, with the headers of ours.
    pub(super) original: OriginalMessage,
    /// The event, or why it is none.
    pub(super) event: Result<Envelope, EnvelopeError>,
    /// Which dead letter it is, or would be; nothing where it has no id at all.
    pub(super) letter_id: Option<String>,
    /// The id that it is known by.
    pub(super) id: Option<String>,
    /// Its type, as far as it says.
    pub(super) event_type: Option<String>,
    /// How often it was replayed before.
    pub(super) round: i64,
    /// How often it failed before in this round.
    pub(super) attempts: i32,
    /// Whether it may have been delivered before.
    pub(super) redelivered: bool,
    queue: String,
    body: Vec<u8>,
}

impl IncomingMessage {
    pub(super) fn from_delivery(queue: &str, delivery: &Delivery) -> Self {
        let Delivery {
            exchange,
            routing_key,
            properties,
            data,
            ..
        } = delivery;
        let mut original =
            OriginalMessage::from_message(exchange.as_str(), routing_key.as_str(), properties);
        if let Some(table) = original.properties.headers() {
            let mut kept = FieldTable::default();
            for (name, value) in table.inner() {
                if !DELIVERY_HEADERS.contains(&name.as_str()) {
                    kept.insert(name.clone(), value.clone());
                }
            }
            original.properties = original.properties.with_headers(kept);
        }
        let heading = EventAttributes::from_body(data);
        let message = LetterMessage {
            queue,
            properties: &original.properties,
            body: data,
        };
        let (letter, round) = (message.letter_id(), message.round());
        let attempts = original
            .properties
            .headers()
            .as_ref()
            .and_then(|headers| get_number(headers, headers::ATTEMPTS));
        let kind = || {
            let kind = original.properties.kind().as_ref();
            kind.map(ToString::to_string)
        };
        let filled = |id: &String| !id.trim().is_empty();
        let message_id = || {
            let id = original.properties.message_id().as_ref()?;
            Some(id.to_string()).filter(filled)
        };
        Self {
            event: Envelope::parse(data).and_then(|event| {
                events::check_routing_key(exchange.as_str(), routing_key.as_str(), &event)?;
                Ok(event)
            }),
            letter_id: letter,
            id: heading.id.filter(filled).or_else(message_id),
            event_type: heading.event_type.or_else(kind),
            round: i64::try_from(round).unwrap_or(i64::MAX),
            attempts: attempts
                .and_then(|attempts| i32::try_from(attempts).ok())
                .unwrap_or_default(),
            redelivered: delivery.redelivered,
            queue: queue.to_owned(),
            body: data.clone(),
            original,
        }
    }

    /// The letter that it becomes: its own, or a new one where it has no id at all.
    pub(super) fn letter_id_or_new(&self) -> String {
        self.letter_id
            .clone()
            .unwrap_or_else(|| self.message().random_letter_id())
    }

    /// What it is known by where it has no id at all.
    pub(super) fn fingerprint(&self) -> String {
        self.message().content_digest()
    }

    pub(super) fn properties(&self) -> &BasicProperties {
        &self.original.properties
    }

    fn message(&self) -> LetterMessage<'_> {
        LetterMessage {
            queue: &self.queue,
            properties: &self.original.properties,
            body: &self.body,
        }
    }
}
