//! A dead letter as a line of JSON: every property, every type of header and every byte.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dm_amqp::{OriginalMessage, PublishTarget};
use dm_contracts::topology::dead_letter_queue;
use lapin::BasicProperties;
use lapin::types::ShortString;
use serde::{Deserialize, Serialize};

use super::DeadLetter;
use super::header_json::{self, JsonHeaderValue};
use crate::broker::OutgoingMessage;

/// A dead letter in a file, or in the database while it is parked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterLine {
    /// The work queue that it failed in.
    pub queue: String,
    /// The exchange that routed it to the dead-letter queue.
    #[serde(default)]
    pub exchange: String,
    /// The routing key with which it was dead-lettered.
    #[serde(default)]
    pub routing_key: String,
    /// The properties.
    #[serde(default)]
    pub properties: JsonProperties,
    /// The headers. `None` if the message has no header table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, JsonHeaderValue>>,
    /// The body, in base64.
    pub body: String,
}

/// The properties of a message, without its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
}

impl DeadLetterLine {
    /// Creates the line of a letter from its original message.
    #[must_use]
    pub(crate) fn from_original(queue: &str, original: &OriginalMessage, body: &[u8]) -> Self {
        let headers = original.properties.headers().as_ref();
        Self {
            queue: queue.to_owned(),
            exchange: original.target.exchange.clone(),
            routing_key: original.target.routing_key.clone(),
            properties: JsonProperties::from_amqp(&original.properties),
            headers: headers.map(header_json::from_field_table),
            body: STANDARD.encode(body),
        }
    }

    /// Returns the message id.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.properties.message_id.as_deref()
    }

    /// Returns the original message and the body.
    ///
    /// # Errors
    /// Returns the reason if a value cannot be part of a message.
    pub(crate) fn to_original(&self) -> Result<(OriginalMessage, Vec<u8>), String> {
        let body = STANDARD
            .decode(&self.body)
            .map_err(|error| format!("the body is not base64: {error}"))?;
        let mut properties = self.properties.to_amqp()?;
        if let Some(headers) = &self.headers {
            properties = properties.with_headers(header_json::to_field_table(headers)?);
        }
        let target = PublishTarget {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
        };
        Ok((OriginalMessage { target, properties }, body))
    }

    /// Returns the letter, and the message that publishes it to its dead-letter queue.
    ///
    /// # Errors
    /// Like [`DeadLetterLine::to_original`].
    pub(crate) fn to_message(&self) -> Result<(DeadLetter, OutgoingMessage), String> {
        let (original, body) = self.to_original()?;
        let letter = DeadLetter::from_message(&self.queue, 0, &original.properties, &body);
        let message = OutgoingMessage {
            // The default exchange routes to this queue only, whatever the bindings.
            exchange: String::new(),
            routing_key: dead_letter_queue(&self.queue),
            mandatory: true,
            properties: original.to_copy_properties(true),
            body,
        };
        Ok((letter, message))
    }
}

impl JsonProperties {
    fn from_amqp(properties: &BasicProperties) -> Self {
        let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
        Self {
            content_type: text(properties.content_type()),
            content_encoding: text(properties.content_encoding()),
            delivery_mode: *properties.delivery_mode(),
            priority: *properties.priority(),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
            expiration: text(properties.expiration()),
            message_id: text(properties.message_id()),
            timestamp: *properties.timestamp(),
            kind: text(properties.kind()),
            user_id: text(properties.user_id()),
            app_id: text(properties.app_id()),
            cluster_id: text(properties.cluster_id()),
        }
    }

    fn to_amqp(&self) -> Result<BasicProperties, String> {
        type P = BasicProperties;
        type With = fn(P, ShortString) -> P;
        let mut properties = P::default();
        let texts: [(&Option<String>, With); 10] = [
            (&self.content_type, P::with_content_type),
            (&self.content_encoding, P::with_content_encoding),
            (&self.correlation_id, P::with_correlation_id),
            (&self.reply_to, P::with_reply_to),
            (&self.expiration, P::with_expiration),
            (&self.message_id, P::with_message_id),
            (&self.kind, P::with_type),
            (&self.user_id, P::with_user_id),
            (&self.app_id, P::with_app_id),
            (&self.cluster_id, P::with_cluster_id),
        ];
        for (text, with) in texts {
            if let Some(text) = text {
                properties = with(properties, header_json::to_short_string(text)?);
            }
        }
        if let Some(mode) = self.delivery_mode {
            properties = properties.with_delivery_mode(mode);
        }
        if let Some(priority) = self.priority {
            properties = properties.with_priority(priority);
        }
        if let Some(timestamp) = self.timestamp {
            properties = properties.with_timestamp(timestamp);
        }
        Ok(properties)
    }

    /// Returns the properties that are set, as text.
    #[must_use]
    pub(crate) fn display_map(properties: &BasicProperties) -> BTreeMap<&'static str, String> {
        let json = Self::from_amqp(properties);
        let texts = [
            ("content_type", json.content_type),
            ("content_encoding", json.content_encoding),
            (
                "delivery_mode",
                json.delivery_mode.map(|value| value.to_string()),
            ),
            ("priority", json.priority.map(|value| value.to_string())),
            ("correlation_id", json.correlation_id),
            ("reply_to", json.reply_to),
            ("expiration", json.expiration),
            ("message_id", json.message_id),
            ("timestamp", json.timestamp.map(|value| value.to_string())),
            ("type", json.kind),
            ("user_id", json.user_id),
            ("app_id", json.app_id),
            ("cluster_id", json.cluster_id),
        ];
        texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::topology::INVENTORY_QUEUE;
    use lapin::types::{AMQPValue, FieldTable};
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = AMQPValue> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<u8>().prop_map(AMQPValue::ShortShortUInt),
            any::<i16>().prop_map(AMQPValue::ShortInt),
            any::<u16>().prop_map(AMQPValue::ShortUInt),
            any::<i32>().prop_map(AMQPValue::LongInt),
            any::<u32>().prop_map(AMQPValue::LongUInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<f32>().prop_map(AMQPValue::Float),
            any::<f64>().prop_map(AMQPValue::Double),
            (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| AMQPValue::DecimalValue(
                lapin::types::DecimalValue { scale, value }
            )),
            any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            any::<String>().prop_map(|text| AMQPValue::LongString(text.into())),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
            Just(AMQPValue::Void),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| AMQPValue::FieldArray(values.into())),
                tables(inner).prop_map(AMQPValue::FieldTable),
            ]
        })
    }

    fn tables(values: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
        let names = prop_oneof![
            "[a-z\0é-]{0,12}",
            Just("CC".to_owned()),
            Just("x-death".to_owned())
        ];
        prop::collection::btree_map(names, values, 0..5).prop_map(|entries| {
            let mut table = FieldTable::default();
            for (name, value) in entries {
                table.insert(name.as_str().into(), value);
            }
            table
        })
    }

    fn texts() -> impl Strategy<Value = Option<ShortString>> {
        prop::option::of("[\\PC\0]{0,20}".prop_map(|text| text.as_str().into()))
    }

    prop_compose! {
        fn letters()(
            texts in prop::collection::vec(texts(), 10),
            headers in prop::option::of(tables(values())),
            numbers in any::<(Option<u8>, Option<u8>, Option<u64>)>(),
            target in ("[a-z.]{0,10}", "[a-z.]{0,10}"),
        ) -> OriginalMessage {
            type P = BasicProperties;
            type With = fn(P, ShortString) -> P;
            let with: [With; 10] = [
                P::with_content_type, P::with_content_encoding, P::with_correlation_id,
                P::with_reply_to, P::with_expiration, P::with_message_id, P::with_type,
                P::with_user_id, P::with_app_id, P::with_cluster_id,
            ];
            let mut properties = P::default();
            for (text, with) in texts.into_iter().zip(with) {
                if let Some(text) = text { properties = with(properties, text); }
            }
            if let Some(headers) = headers { properties = properties.with_headers(headers); }
            if let Some(mode) = numbers.0 { properties = properties.with_delivery_mode(mode); }
            if let Some(priority) = numbers.1 { properties = properties.with_priority(priority); }
            if let Some(seconds) = numbers.2 { properties = properties.with_timestamp(seconds); }
            OriginalMessage {
                target: PublishTarget { exchange: target.0, routing_key: target.1 },
                properties,
            }
        }
    }

    /// Compares floats by their bits, so that NaN equals itself.
    fn is_same(one: &OriginalMessage, other: &OriginalMessage) -> bool {
        let content = |original: &OriginalMessage| {
            let message = dm_amqp::letter_id::LetterMessage {
                queue: "q",
                properties: &original.properties,
                body: b"",
            };
            (
                message.complete_digest(),
                original.properties.headers().is_some(),
            )
        };
        one.target == other.target && content(one) == content(other)
    }

    proptest! {
        /// A letter stays the same when it is written to a line, parsed, published and read.
        #[test]
        fn letter_round_trips_through_a_line(letter in letters(), body in any::<Vec<u8>>()) {
            let line = DeadLetterLine::from_original(INVENTORY_QUEUE, &letter, &body);
            let text = serde_json::to_string(&line).unwrap();
            let parsed: DeadLetterLine = serde_json::from_str(&text).unwrap();
            let (original, bytes) = parsed.to_original().unwrap();
            prop_assert!(is_same(&original, &letter), "{text}");
            prop_assert_eq!(&bytes, &body);
            let (parsed_letter, message) = parsed.to_message().unwrap();
            let republished =
                OriginalMessage::from_message("", &message.routing_key, &message.properties);
            prop_assert!(is_same(&republished, &letter));
            let copied = DeadLetterLine::from_original(INVENTORY_QUEUE, &republished, &message.body);
            prop_assert_eq!(copied, line);
            let published_letter =
                DeadLetter::from_message(INVENTORY_QUEUE, 0, &message.properties, &body);
            prop_assert_eq!(published_letter.fingerprint, parsed_letter.fingerprint);
        }
    }

    #[test]
    fn invalid_line_is_refused_with_its_reason() {
        let line = |more: &str| {
            let text = format!(r#"{{"queue":"q"{more}}}"#);
            serde_json::from_str::<DeadLetterLine>(&text)
                .map_err(|error| error.to_string())
                .and_then(|line| line.to_message().map(|_| ()))
        };
        assert_eq!(line(r#","body":"""#), Ok(()));
        let long = "x".repeat(256);
        for (more, part) in [
            (r#","body":"*""#.to_owned(), "base64"),
            (r#","body":"","surprise":1"#.to_owned(), "surprise"),
            (
                format!(r#","body":"","properties":{{"message_id":"{long}"}}"#),
                "255",
            ),
            (
                r#","body":"","headers":{"n":{"int8":1000}}"#.to_owned(),
                "header",
            ),
            (String::new(), "body"),
        ] {
            let error = line(&more).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
