//! Which dead letter a message is.
//!
//! The letter of an event follows from its queue, its id, its round and its body, so that
//! every copy of it has the same identity. A message without an event's id is known by
//! all that it is made of; without any id, each one is a letter of its own, with a part
//! that is random.

use data_encoding::HEXLOWER;
use dm_contracts::envelope::EventAttributes;
use dm_contracts::headers;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::header::get_number;

/// How many hexadecimal digits an identity has.
const ID_HEX_DIGITS: usize = 32;

/// What says which letter a message is. The properties are those of the original.
#[derive(Debug, Clone, Copy)]
pub struct LetterMessage<'a> {
    /// The work queue.
    pub queue: &'a str,
    /// Its properties, as [`crate::Original`] reads them.
    pub properties: &'a BasicProperties,
    /// Its body.
    pub body: &'a [u8],
}

impl LetterMessage<'_> {
    /// The round that it is in: how often it was replayed before.
    #[must_use]
    pub fn round(&self) -> u64 {
        let headers = self.properties.headers().as_ref();
        headers
            .and_then(|headers| get_number(headers, headers::REPLAYS))
            .unwrap_or_default()
    }

    /// Its letter, where that follows from the message; nothing for one without any id.
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

    /// A letter of its own for a message without any id.
    #[must_use]
    pub fn random_letter_id(&self) -> String {
        let random = Uuid::new_v4().simple().to_string();
        format!(
            "{}{}",
            &random[..ID_HEX_DIGITS / 2],
            &self.content_digest()[..ID_HEX_DIGITS / 2]
        )
    }

    /// Whether this can be its letter: a message that was changed is another one.
    #[must_use]
    pub fn matches_letter_id(&self, letter: &str) -> bool {
        match self.letter_id() {
            Some(own) => own == letter,
            None => {
                letter.len() == ID_HEX_DIGITS
                    && letter.get(ID_HEX_DIGITS / 2..)
                        == Some(&self.content_digest()[..ID_HEX_DIGITS / 2])
            }
        }
    }

    /// Over all that its publisher gave it, and the round: what services, `dm` and the
    /// broker wrote into its headers on the way is not part of it.
    #[must_use]
    pub fn content_digest(&self) -> String {
        let ours = |name: &str| {
            name.starts_with(headers::PREFIX)
                || ["x-death", "x-delivery-count", "x-acquired-count"].contains(&name)
                || name.starts_with("x-first-death-")
                || name.starts_with("x-last-death-")
        };
        let mut digest = FieldHasher::default();
        digest.write_bytes(&self.round().to_be_bytes());
        self.digest_message(digest, |name| !ours(name))
    }

    /// Over everything that it is made of.
    #[must_use]
    pub fn fingerprint(&self) -> String {
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

/// A digest over parts that can't run into each other.
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
            AMQPValue::Boolean(truth) => self.write_bytes(&[u8::from(*truth)]),
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
    fn the_letter_of_an_event_is_of_its_queue_round_and_body() {
        let first = BasicProperties::default();
        let replayed = with(&[(headers::REPLAYS, AMQPValue::LongInt(1))]);
        let tried = with(&[(headers::ATTEMPTS, AMQPValue::LongInt(4))]);
        let letter = message(&first, EVENT).letter_id();
        assert_eq!(letter, message(&tried, EVENT).letter_id());
        assert_ne!(letter, message(&replayed, EVENT).letter_id());
        assert_ne!(
            letter,
            message(&first, br#"{"id":"evt_1","data":1}"#).letter_id()
        );
        let elsewhere = LetterMessage {
            queue: "other",
            ..message(&first, EVENT)
        };
        assert_ne!(letter, elsewhere.letter_id());
        assert!(message(&first, EVENT).matches_letter_id(&letter.unwrap()));
    }

    #[test]
    fn without_an_id_every_message_is_a_letter_of_its_own() {
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
    fn a_message_with_an_id_alone_is_known_by_its_contents() {
        let named =
            |tenant| with(&[("tenant", AMQPValue::LongInt(tenant))]).with_message_id("m_1".into());
        let (one, two) = (named(1), named(2));
        let letter = message(&one, b"ping").letter_id().unwrap();
        assert_eq!(Some(&letter), message(&one, b"ping").letter_id().as_ref());
        assert_ne!(Some(&letter), message(&two, b"ping").letter_id().as_ref());
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
