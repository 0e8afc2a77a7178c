//! Which dead letter a message is.
//!
//! The letter of an event follows from its queue, its id, its round and its body, so that
//! every copy of it has the same identity. A message without an event's id is known by
//! all that it is made of; without any id, each one is a letter of its own, with a part
//! that is random.

use data_encoding::HEXLOWER;
use dm_contracts::envelope::Heading;
use dm_contracts::headers;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::header::number;

/// How many hexadecimal digits an identity has.
const DIGITS: usize = 32;

/// What says which letter a message is. The properties are those of the original.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The work queue.
    pub queue: &'a str,
    /// Its properties, as [`crate::Original`] reads them.
    pub properties: &'a BasicProperties,
    /// Its body.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The round that it is in: how often it was replayed before.
    #[must_use]
    pub fn round(&self) -> u64 {
        let headers = self.properties.headers().as_ref();
        headers
            .and_then(|headers| number(headers, headers::REPLAYS))
            .unwrap_or_default()
    }

    /// Its letter, where that follows from the message; nothing for one without any id.
    #[must_use]
    pub fn letter(&self) -> Option<String> {
        let event = Heading::read(self.body).id;
        if let Some(id) = event.filter(|id| !id.trim().is_empty()) {
            let mut digest = Digest::default();
            digest.text("event");
            digest.text(self.queue);
            digest.text(&id);
            digest.part(&self.round().to_be_bytes());
            digest.part(self.body);
            return Some(digest.end());
        }
        let id = self.properties.message_id().as_ref()?;
        (!id.as_str().trim().is_empty()).then(|| self.content())
    }

    /// A letter of its own for a message without any id.
    #[must_use]
    pub fn new_letter(&self) -> String {
        let random = Uuid::new_v4().simple().to_string();
        format!("{}{}", &random[..DIGITS / 2], &self.content()[..DIGITS / 2])
    }

    /// Whether this can be its letter: a message that was changed is another one.
    #[must_use]
    pub fn is(&self, letter: &str) -> bool {
        match self.letter() {
            Some(own) => own == letter,
            None => {
                letter.len() == DIGITS
                    && letter.get(DIGITS / 2..) == Some(&self.content()[..DIGITS / 2])
            }
        }
    }

    /// Over all that its publisher gave it, and the round: what services, `dm` and the
    /// broker wrote into its headers on the way is not part of it.
    #[must_use]
    pub fn content(&self) -> String {
        let ours = |name: &str| {
            name.starts_with(headers::OURS)
                || ["x-death", "x-delivery-count", "x-acquired-count"].contains(&name)
                || name.starts_with("x-first-death-")
                || name.starts_with("x-last-death-")
        };
        let mut digest = Digest::default();
        digest.part(&self.round().to_be_bytes());
        self.all(digest, |name| !ours(name))
    }

    /// Over everything that it is made of.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.all(Digest::default(), |_| true)
    }

    fn all(&self, mut digest: Digest, takes: impl Fn(&str) -> bool) -> String {
        let properties = self.properties;
        digest.text(self.queue);
        for property in [
            properties.content_type(),
            properties.content_encoding(),
            properties.correlation_id(),
            properties.reply_to(),
            properties.expiration(),
            properties.message_id(),
            properties.kind(),
            properties.user_id(),
            properties.app_id(),
            properties.cluster_id(),
        ] {
            digest.optional(property.as_ref().map(|text| text.as_str().as_bytes()));
        }
        digest.optional(
            properties
                .delivery_mode()
                .as_ref()
                .map(std::slice::from_ref),
        );
        digest.optional(properties.priority().as_ref().map(std::slice::from_ref));
        let timestamp = properties.timestamp().map(u64::to_be_bytes);
        digest.optional(timestamp.as_ref().map(<[u8; 8]>::as_slice));
        let headers = properties.headers().as_ref();
        for (name, value) in headers.into_iter().flat_map(|headers| headers.inner()) {
            if takes(name.as_str()) {
                digest.text(name.as_str());
                digest.value(value);
            }
        }
        digest.part(self.body);
        digest.end()
    }
}

/// A digest over parts that can't run into each other.
#[derive(Default)]
struct Digest(Sha256);

impl Digest {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.part(text.as_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.part(&[u8::from(bytes.is_some())]);
        self.part(bytes.unwrap_or_default());
    }

    fn value(&mut self, value: &AMQPValue) {
        let kind = value.get_type().get_id();
        self.part(kind.to_string().as_bytes());
        match value {
            AMQPValue::Boolean(truth) => self.part(&[u8::from(*truth)]),
            AMQPValue::ShortShortInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::ShortShortUInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::ShortInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::ShortUInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::LongInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::LongUInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::LongLongInt(number) => self.part(&number.to_be_bytes()),
            AMQPValue::Float(number) => self.part(&number.to_bits().to_be_bytes()),
            AMQPValue::Double(number) => self.part(&number.to_bits().to_be_bytes()),
            AMQPValue::DecimalValue(number) => {
                self.part(&[number.scale]);
                self.part(&number.value.to_be_bytes());
            }
            AMQPValue::ShortString(text) => self.text(text.as_str()),
            AMQPValue::LongString(text) => self.part(text.as_bytes()),
            AMQPValue::FieldArray(values) => {
                let values = values.as_slice();
                self.part(&(values.len() as u64).to_be_bytes());
                for value in values {
                    self.value(value);
                }
            }
            AMQPValue::Timestamp(seconds) => self.part(&seconds.to_be_bytes()),
            AMQPValue::FieldTable(table) => {
                self.part(&(table.inner().len() as u64).to_be_bytes());
                for (name, value) in table.inner() {
                    self.text(name.as_str());
                    self.value(value);
                }
            }
            AMQPValue::ByteArray(bytes) => self.part(bytes.as_slice()),
            AMQPValue::Void => {}
        }
    }

    fn end(self) -> String {
        HEXLOWER.encode(&self.0.finalize()[..DIGITS / 2])
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn message<'a>(properties: &'a BasicProperties, body: &'a [u8]) -> Message<'a> {
        Message {
            queue: "q",
            properties,
            body,
        }
    }

    fn with(entries: &[(&str, AMQPValue)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        BasicProperties::default().with_headers(table)
    }

    const EVENT: &[u8] = br#"{"id":"evt_1","data":{}}"#;

    #[test]
    fn the_letter_of_an_event_is_of_its_queue_round_and_body() {
        let first = BasicProperties::default();
        let replayed = with(&[(headers::REPLAYS, AMQPValue::LongInt(1))]);
        let tried = with(&[(headers::ATTEMPTS, AMQPValue::LongInt(4))]);
        let letter = message(&first, EVENT).letter();
        assert_eq!(letter, message(&tried, EVENT).letter());
        assert_ne!(letter, message(&replayed, EVENT).letter());
        assert_ne!(
            letter,
            message(&first, br#"{"id":"evt_1","data":1}"#).letter()
        );
        let elsewhere = Message {
            queue: "other",
            ..message(&first, EVENT)
        };
        assert_ne!(letter, elsewhere.letter());
        assert!(message(&first, EVENT).is(&letter.unwrap()));
    }

    #[test]
    fn without_an_id_every_message_is_a_letter_of_its_own() {
        let properties = with(&[("tenant", AMQPValue::LongInt(1))]);
        let other = with(&[("tenant", AMQPValue::LongInt(2))]);
        let ping = message(&properties, b"ping");
        assert_eq!(ping.letter(), None);
        let (one, two) = (ping.new_letter(), ping.new_letter());
        assert_ne!(one, two);
        assert!(ping.is(&one) && ping.is(&two));
        assert!(!message(&other, b"ping").is(&one));
        assert!(!ping.is("") && !ping.is("ü"));
    }

    #[test]
    fn a_message_with_an_id_alone_is_known_by_its_contents() {
        let named =
            |tenant| with(&[("tenant", AMQPValue::LongInt(tenant))]).with_message_id("m_1".into());
        let (one, two) = (named(1), named(2));
        let letter = message(&one, b"ping").letter().unwrap();
        assert_eq!(Some(&letter), message(&one, b"ping").letter().as_ref());
        assert_ne!(Some(&letter), message(&two, b"ping").letter().as_ref());
    }

    #[test]
    fn a_fingerprint_tells_types_of_headers_apart() {
        let values = [
            AMQPValue::LongInt(1),
            AMQPValue::LongUInt(1),
            AMQPValue::Boolean(true),
            AMQPValue::Void,
            AMQPValue::LongString("1".into()),
            AMQPValue::ByteArray(b"1".to_vec().into()),
            AMQPValue::Double(1.0),
            AMQPValue::Double(f64::NAN),
        ];
        let prints: std::collections::HashSet<String> = values
            .into_iter()
            .map(|value| message(&with(&[("h", value)]), b"").fingerprint())
            .collect();
        assert_eq!(prints.len(), 8);
    }
}
