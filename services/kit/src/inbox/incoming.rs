//! The parsed form of a delivery.

use dm_amqp::OriginalMessage;
use dm_amqp::header_value::get_number;
use dm_amqp::letter_id::LetterMessage;
use dm_contracts::envelope::{EnvelopeError, EventAttributes};
use dm_contracts::{Envelope, events, headers};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::FieldTable;

/// Headers that the broker adds to a delivery, and that are not part of the message.
const DELIVERY_HEADERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// A message of a work queue, with its letter id.
#[derive(Debug)]
pub(super) struct IncomingMessage {
    /// The properties that the publisher set, and the project's headers.
    pub(super) original: OriginalMessage,
    /// The event, or the error of a message that is not a valid event.
    pub(super) event: Result<Envelope, EnvelopeError>,
    /// Letter id of the dead letter that it may become; `None` if the message has no id at all.
    pub(super) letter_id: Option<String>,
    /// Id of the event, or of the message.
    pub(super) id: Option<String>,
    /// Type of the event, or of the message.
    pub(super) event_type: Option<String>,
    /// Number of replays.
    pub(super) round: i64,
    /// Number of failed attempts in this round.
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
            let mut message_headers = FieldTable::default();
            for (name, value) in table.inner() {
                if !DELIVERY_HEADERS.contains(&name.as_str()) {
                    message_headers.insert(name.clone(), value.clone());
                }
            }
            original.properties = original.properties.with_headers(message_headers);
        }
        let attributes = EventAttributes::from_body(data);
        let message = LetterMessage {
            queue,
            properties: &original.properties,
            body: data,
        };
        let (letter_id, round) = (message.letter_id(), message.round());
        let attempts = original
            .properties
            .headers()
            .as_ref()
            .and_then(|headers| get_number(headers, headers::ATTEMPTS));
        let message_type = || {
            let message_type = original.properties.kind().as_ref();
            message_type.map(ToString::to_string)
        };
        let is_present = |id: &String| !id.trim().is_empty();
        let message_id = || {
            let id = original.properties.message_id().as_ref()?;
            Some(id.to_string()).filter(is_present)
        };
        Self {
            event: Envelope::parse(data).and_then(|event| {
                events::check_routing_key(exchange.as_str(), routing_key.as_str(), &event)?;
                Ok(event)
            }),
            letter_id,
            id: attributes.id.filter(is_present).or_else(message_id),
            event_type: attributes.event_type.or_else(message_type),
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

    /// Returns the letter id of the dead letter that it may become, which is a random one if the
    /// message has no id at all.
    pub(super) fn letter_id_or_new(&self) -> String {
        self.letter_id
            .clone()
            .unwrap_or_else(|| self.message().random_letter_id())
    }

    /// Returns the digest that identifies a message without any id.
    pub(super) fn content_digest(&self) -> String {
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
