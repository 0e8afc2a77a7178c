//! The letter id of a dead letter.
//!
//! The letter id of an event follows from the queue, the event id, the round and the body, so
//! every copy of a dead letter has the same letter id. A message without an event id is identified
//! by its content. A message without any id gets a unique letter id with a random part.

use data_encoding::HEXLOWER;
use dm_contracts::envelope::EventAttributes;
use dm_contracts::headers;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::header_value::get_number;

/// The number of hexadecimal digits of a letter id.
const ID_HEX_DIGITS: usize = 32;

/// The parts of a message that identify its letter. The properties are those of the original.
#[derive(Debug, Clone, Copy)]
pub struct LetterMessage<'a> {
    /// The work queue.
    pub queue: &'a str,
    /// The properties, as [`crate::OriginalMessage`] restores them.
    pub properties: &'a BasicProperties,
    /// The body.
    pub body: &'a [u8],
}

impl LetterMessage<'_> {
    /// Returns the round: the number of times the message was replayed before.
    #[must_use]
    pub fn round(&self) -> u64 {
        let headers = self.properties.headers().as_ref();
        headers
            .and_then(|headers| get_number(headers, headers::REPLAYS))
            .unwrap_or_default()
    }

    /// Returns the letter id if the message determines it. `None` for a message without any id.
    #[must_use]
    pub fn letter_id(&self) -> Option<String> {
        let event = EventAttributes::from_body(self.body).id;
        if let Some(id) = event.filter(|id| !id.trim().is_empty()) {
            let mut digest = FieldHasher::default();
            digest.write_text("event");
            digest.write_text(self.queue);
            digest.write_text(&id);
            digest.write_bytes(&self.round().to_be_bytes());
            digest.write_bytes(self.body);
            return Some(digest.finish());
        }
        let id = self.properties.message_id().as_ref()?;
        (!id.as_str().trim().is_empty()).then(|| self.content_digest())
    }

    /// Returns a unique letter id for a message without any id.
    #[must_use]
    pub fn random_letter_id(&self) -> String {
        let random = Uuid::new_v4().simple().to_string();
        format!(
            "{}{}",
            &random[..ID_HEX_DIGITS / 2],
            &self.content_digest()[..ID_HEX_DIGITS / 2]
        )
    }

    /// Returns whether `letter` can be the letter id of this message. A changed message has
    /// another letter id.
    #[must_use]
    pub fn matches_letter_id(&self, letter: &str) -> bool {
        match self.letter_id() {
            Some(id) => id == letter,
            None => {
                letter.len() == ID_HEX_DIGITS
                    && letter.get(ID_HEX_DIGITS / 2..)
                        == Some(&self.content_digest()[..ID_HEX_DIGITS / 2])
            }
        }
    }

    /// Returns the digest of the queue, the round and everything that the publisher set. Headers
    /// that services, `dm` or the broker added later are not part of it.
    #[must_use]
    pub fn content_digest(&self) -> String {
        let is_added_later = |name: &str| {
            name.starts_with(headers::PREFIX)
                || ["x-death", "x-delivery-count", "x-acquired-count"].contains(&name)
                || name.starts_with("x-first-death-")
                || name.starts_with("x-last-death-")
        };
        let mut digest = FieldHasher::default();
        digest.write_bytes(&self.round().to_be_bytes());
        self.digest_message(digest, |name| !is_added_later(name))
    }

    /// Returns the digest of the queue and the complete message.
    #[must_use]
    pub fn complete_digest(&self) -> String {
        self.digest_message(FieldHasher::default(), |_| true)
    }

    fn digest_message(
        &self,
        mut digest: FieldHasher,
        include_header: impl Fn(&str) -> bool,
    ) -> String {
        let properties = self.properties;
        digest.write_text(self.queue);
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
            digest.write_optional(property.as_ref().map(|text| text.as_str().as_bytes()));
        }
        digest.write_optional(
            properties
                .delivery_mode()
                .as_ref()
                .map(std::slice::from_ref),
        );
        digest.write_optional(properties.priority().as_ref().map(std::slice::from_ref));
        let timestamp = properties.timestamp().map(u64::to_be_bytes);
        digest.write_optional(timestamp.as_ref().map(<[u8; 8]>::as_slice));
        let headers = properties.headers().as_ref();
        for (name, value) in headers.into_iter().flat_map(|headers| headers.inner()) {
            if include_header(name.as_str()) {
                digest.write_text(name.as_str());
                digest.write_value(value);
            }
        }
        digest.write_bytes(self.body);
        digest.finish()
    }
}

/// A digest of length-prefixed fields, so that adjacent fields cannot be confused.
#[derive(Default)]
struct FieldHasher(Sha256);

impl FieldHasher {
    fn write_bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn write_text(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    fn write_optional(&mut self, bytes: Option<&[u8]>) {
        self.write_bytes(&[u8::from(bytes.is_some())]);
        self.write_bytes(bytes.unwrap_or_default());
    }

    fn write_value(&mut self, value: &AMQPValue) {
        let kind = value.get_type().get_id();
        self.write_bytes(kind.to_string().as_bytes());
        match value {
            AMQPValue::Boolean(value) => self.write_bytes(&[u8::from(*value)]),
            AMQPValue::ShortShortInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::ShortShortUInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::ShortInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::ShortUInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::LongInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::LongUInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::LongLongInt(number) => self.write_bytes(&number.to_be_bytes()),
            AMQPValue::Float(number) => self.write_bytes(&number.to_bits().to_be_bytes()),
            AMQPValue::Double(number) => self.write_bytes(&number.to_bits().to_be_bytes()),
            AMQPValue::DecimalValue(number) => {
                self.write_bytes(&[number.scale]);
                self.write_bytes(&number.value.to_be_bytes());
            }
            AMQPValue::ShortString(text) => self.write_text(text.as_str()),
            AMQPValue::LongString(text) => self.write_bytes(text.as_bytes()),
            AMQPValue::FieldArray(values) => {
                let values = values.as_slice();
                self.write_bytes(&(values.len() as u64).to_be_bytes());
                for value in values {
                    self.write_value(value);
                }
            }
            AMQPValue::Timestamp(seconds) => self.write_bytes(&seconds.to_be_bytes()),
            AMQPValue::FieldTable(table) => {
                self.write_bytes(&(table.inner().len() as u64).to_be_bytes());
                for (name, value) in table.inner() {
                    self.write_text(name.as_str());
                    self.write_value(value);
                }
            }
            AMQPValue::ByteArray(bytes) => self.write_bytes(bytes.as_slice()),
            AMQPValue::Void => {}
        }
    }

    fn finish(self) -> String {
        HEXLOWER.encode(&self.0.finalize()[..ID_HEX_DIGITS / 2])
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn message<'a>(properties: &'a BasicProperties, body: &'a [u8]) -> LetterMessage<'a> {
        LetterMessage {
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
    fn event_letter_id_depends_on_queue_round_and_body() {
        let first = BasicProperties::default();
        let replayed = with(&[(headers::REPLAYS, AMQPValue::LongInt(1))]);
        let retried = with(&[(headers::ATTEMPTS, AMQPValue::LongInt(4))]);
        let letter = message(&first, EVENT).letter_id();
        assert_eq!(letter, message(&retried, EVENT).letter_id());
        assert_ne!(letter, message(&replayed, EVENT).letter_id());
        assert_ne!(
            letter,
            message(&first, br#"{"id":"evt_1","data":1}"#).letter_id()
        );
        let other_queue = LetterMessage {
            queue: "other",
            ..message(&first, EVENT)
        };
        assert_ne!(letter, other_queue.letter_id());
        assert!(message(&first, EVENT).matches_letter_id(&letter.unwrap()));
    }

    #[test]
    fn message_without_any_id_gets_a_unique_letter_id() {
        let properties = with(&[("tenant", AMQPValue::LongInt(1))]);
        let other = with(&[("tenant", AMQPValue::LongInt(2))]);
        let ping = message(&properties, b"ping");
        assert_eq!(ping.letter_id(), None);
        let (one, two) = (ping.random_letter_id(), ping.random_letter_id());
        assert_ne!(one, two);
        assert!(ping.matches_letter_id(&one) && ping.matches_letter_id(&two));
        assert!(!message(&other, b"ping").matches_letter_id(&one));
        assert!(!ping.matches_letter_id("") && !ping.matches_letter_id("ü"));
    }

    #[test]
    fn message_id_without_event_id_is_identified_by_content() {
        let named =
            |tenant| with(&[("tenant", AMQPValue::LongInt(tenant))]).with_message_id("m_1".into());
        let (one, two) = (named(1), named(2));
        let letter = message(&one, b"ping").letter_id().unwrap();
        assert_eq!(Some(&letter), message(&one, b"ping").letter_id().as_ref());
        assert_ne!(Some(&letter), message(&two, b"ping").letter_id().as_ref());
    }

    #[test]
    fn complete_digest_distinguishes_header_types() {
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
        let digests: std::collections::HashSet<String> = values
            .into_iter()
            .map(|value| message(&with(&[("h", value)]), b"").complete_digest())
            .collect();
        assert_eq!(digests.len(), 8);
    }
}
