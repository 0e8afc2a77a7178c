//! A delivery, understood.

use dm_amqp::Original;
use dm_amqp::header::number;
use dm_amqp::letter::Message;
use dm_contracts::envelope::{EnvelopeError, Heading};
use dm_contracts::{Envelope, events, headers};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::FieldTable;

/// What the broker wrote of a delivery: no part of the message.
const OF_DELIVERY: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// A message of a work queue, and which one it is.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its properties as its publisher gave them, with the headers of ours.
    pub(super) original: Original,
    /// The event, or why it is none.
    pub(super) event: Result<Envelope, EnvelopeError>,
    /// Which dead letter it is, or would be; nothing where it has no id at all.
    pub(super) letter: Option<String>,
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

impl Incoming {
    pub(super) fn of(queue: &str, delivery: &Delivery) -> Self {
        let Delivery {
            exchange,
            routing_key,
            properties,
            data,
            ..
        } = delivery;
        let mut original = Original::of(exchange.as_str(), routing_key.as_str(), properties);
        if let Some(table) = original.properties.headers() {
            let mut kept = FieldTable::default();
            for (name, value) in table.inner() {
                if !OF_DELIVERY.contains(&name.as_str()) {
                    kept.insert(name.clone(), value.clone());
                }
            }
            original.properties = original.properties.with_headers(kept);
        }
        let heading = Heading::read(data);
        let message = Message {
            queue,
            properties: &original.properties,
            body: data,
        };
        let (letter, round) = (message.letter(), message.round());
        let attempts = original
            .properties
            .headers()
            .as_ref()
            .and_then(|headers| number(headers, headers::ATTEMPTS));
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
                events::check_route(exchange.as_str(), routing_key.as_str(), &event)?;
                Ok(event)
            }),
            letter,
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
    pub(super) fn letter(&self) -> String {
        self.letter
            .clone()
            .unwrap_or_else(|| self.message().new_letter())
    }

    /// What it is known by where it has no id at all.
    pub(super) fn content(&self) -> String {
        self.message().content()
    }

    pub(super) fn properties(&self) -> &BasicProperties {
        &self.original.properties
    }

    fn message(&self) -> Message<'_> {
        Message {
            queue: &self.queue,
            properties: &self.original.properties,
            body: &self.body,
        }
    }
}
