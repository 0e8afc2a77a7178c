//! A parsed dead letter.

use chrono::{DateTime, TimeZone as _, Utc};
use dm_amqp::OriginalMessage;
use dm_amqp::header_value::{as_text, get_number, get_text};
use dm_amqp::letter_id::LetterMessage;
use dm_contracts::envelope::EventAttributes;
use dm_contracts::{headers, time};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;

/// The reason of a letter without a recorded reason.
const UNKNOWN_REASON: &str = "unknown";

/// A parsed dead letter. Every field except queue and position may be missing, since any client
/// can publish any message to the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The work queue that it failed in.
    pub queue: String,
    /// The position in the dead-letter queue, from 1.
    pub position: u64,
    /// The event's id.
    pub id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The event's aggregate.
    pub subject: Option<String>,
    /// The routing key that it was first published with.
    pub routing_key: Option<String>,
    /// The stable name of the reason.
    pub reason: String,
    /// The text of the last error.
    pub error: Option<String>,
    /// The service that failed to process it.
    pub service: Option<String>,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
    /// The number of attempts.
    pub attempts: u64,
    /// The number of replays.
    pub replays: u64,
    /// The instant of the last failure.
    pub failed_at: Option<DateTime<Utc>>,
    /// Identifies this letter, also among the letters of the same event that failed before or
    /// after: the letter id if the letter has a record; otherwise the digest of queue and complete
    /// message. Equal messages have equal fingerprints.
    pub fingerprint: String,
    /// Whether a consumer has a record of it. Then a second message with this fingerprint, which
    /// is its letter id, is a copy and not another letter.
    #[serde(skip)]
    pub has_record: bool,
}

impl DeadLetter {
    /// Parses a message.
    #[must_use]
    pub fn from_message(
        queue: &str,
        position: u64,
        properties: &BasicProperties,
        body: &[u8],
    ) -> Self {
        let event = EventAttributes::from_body(body);
        let properties = &*OriginalMessage::restore_properties(properties);
        let table = properties.headers().as_ref();
        let text = |name| table.and_then(|table| get_text(table, name));
        let count = |name| {
            table
                .and_then(|table| get_number(table, name))
                .unwrap_or_default()
        };
        let death = table.and_then(XDeathEntry::latest);
        let message_id = properties.message_id().as_ref().map(ToString::to_string);
        let kind = properties.kind().as_ref().map(ToString::to_string);
        let message = LetterMessage {
            queue,
            properties,
            body,
        };
        let letter_id = text(headers::LETTER).filter(|letter| message.matches_letter_id(letter));
        Self {
            queue: queue.to_owned(),
            position,
            has_record: letter_id.is_some(),
            fingerprint: letter_id.unwrap_or_else(|| message.complete_digest()),
            id: message_id.or(event.id),
            event_type: event.event_type.or(kind),
            subject: event.subject.filter(|subject| !subject.is_empty()),
            routing_key: text(headers::ROUTING_KEY)
                .or_else(|| death.as_ref().and_then(|death| death.routing_key.clone())),
            reason: text(headers::REASON)
                .or_else(|| death.as_ref().and_then(|death| death.reason.clone()))
                .unwrap_or_else(|| UNKNOWN_REASON.to_owned()),
            error: text(headers::ERROR),
            service: text(headers::SERVICE),
            trace_id: text(headers::MESSAGE_TRACE_ID)
                .or_else(|| text(headers::TRACEPARENT).and_then(|parent| parse_trace_id(&parent))),
            attempts: count(headers::ATTEMPTS),
            replays: count(headers::REPLAYS),
            failed_at: text(headers::FAILED_AT)
                .and_then(|at| time::parse(&at))
                .or_else(|| death.and_then(|death| death.died_at)),
        }
    }
}

/// The reason for which the broker dead-lettered a message: the first entry of `x-death`
/// (<https://www.rabbitmq.com/docs/dlx#effects>).
struct XDeathEntry {
    reason: Option<String>,
    routing_key: Option<String>,
    died_at: Option<DateTime<Utc>>,
}

impl XDeathEntry {
    fn latest(table: &FieldTable) -> Option<Self> {
        let AMQPValue::FieldArray(deaths) = table.inner().get("x-death")? else {
            return None;
        };
        let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else {
            return None;
        };
        let died_at = match death.inner().get("time") {
            Some(AMQPValue::Timestamp(seconds)) => i64::try_from(*seconds)
                .ok()
                .and_then(|seconds| Utc.timestamp_opt(seconds, 0).single()),
            _ => None,
        };
        let routing_key = match death.inner().get("routing-keys") {
            Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(as_text),
            _ => None,
        };
        Some(Self {
            // In the spelling of the other reasons.
            reason: get_text(death, "reason").map(|reason| reason.replace('_', "-")),
            routing_key,
            died_at,
        })
    }
}

/// Returns the trace id of a W3C trace context.
fn parse_trace_id(parent: &str) -> Option<String> {
    parent.split('-').nth(1).map(str::to_owned)
}

/// Examples for the tests of other crates.
#[cfg(any(test, feature = "examples"))]
#[allow(missing_docs, reason = "only tests use it")]
pub mod examples {
    use dm_contracts::topology::INVENTORY_QUEUE;

    use super::*;

    #[must_use]
    pub fn dead_letter(id: &str) -> DeadLetter {
        DeadLetter {
            id: Some(id.to_owned()),
            event_type: Some("com.dundermifflin.order.created.v1".into()),
            subject: Some("order/ord_9001".into()),
            reason: "invalid-data".into(),
            error: Some("items is empty".into()),
            service: Some("inventory-service".into()),
            attempts: 1,
            failed_at: time::parse("2026-02-03T10:00:00Z"),
            fingerprint: "00112233445566778899aabbccddeeff".into(),
            ..DeadLetter::from_message(INVENTORY_QUEUE, 1, &BasicProperties::default(), b"")
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn properties(headers: &[(&str, AMQPValue)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        BasicProperties::default()
            .with_message_id("evt_1".into())
            .with_headers(table)
    }

    const BODY: &[u8] = br#"{"id":"evt_1","type":"t.v1","subject":"order/ord_1","data":{}}"#;

    #[test]
    fn headers_of_a_service_are_parsed() {
        let properties = properties(&[
            (headers::REASON, long("invalid-data")),
            (headers::ERROR, long("items is empty")),
            (headers::SERVICE, long("inventory-service")),
            (headers::ATTEMPTS, AMQPValue::LongInt(1)),
            (headers::REPLAYS, AMQPValue::LongLongInt(2)),
            (headers::FAILED_AT, long("2026-02-03T10:00:00Z")),
            (
                headers::TRACEPARENT,
                long("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"),
            ),
        ]);
        let letter = DeadLetter::from_message("q", 7, &properties, BODY);
        assert_eq!(letter.reason, "invalid-data");
        assert_eq!(letter.error.as_deref(), Some("items is empty"));
        assert_eq!(
            (letter.attempts, letter.replays, letter.position),
            (1, 2, 7)
        );
        assert_eq!(letter.subject.as_deref(), Some("order/ord_1"));
        assert_eq!(
            letter.trace_id.as_deref(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
        assert_eq!(
            letter.failed_at.map(time::format).as_deref(),
            Some("2026-02-03T10:00:00Z")
        );
    }

    #[test]
    fn x_death_entry_of_the_broker_is_parsed() {
        let mut death = FieldTable::default();
        death.insert("reason".into(), long("delivery_limit"));
        death.insert("time".into(), AMQPValue::Timestamp(1_770_000_000));
        death.insert(
            "routing-keys".into(),
            AMQPValue::FieldArray(vec![long("order.created.v1")].into()),
        );
        let deaths = AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into());
        let properties = properties(&[("x-death", deaths)]);
        let letter = DeadLetter::from_message("q", 1, &properties, BODY);
        assert_eq!(letter.reason, "delivery-limit");
        assert_eq!(letter.routing_key.as_deref(), Some("order.created.v1"));
        assert!(letter.failed_at.is_some());
    }

    #[test]
    fn message_without_headers_has_an_unknown_reason() {
        for body in [&b""[..], b"{", b"[]", b"{\"id\":7}", b"\xff"] {
            let letter = DeadLetter::from_message("q", 1, &BasicProperties::default(), body);
            assert_eq!((letter.reason.as_str(), letter.id), ("unknown", None));
        }
    }

    #[test]
    fn fingerprint_differs_for_each_failure_of_an_event() {
        let fingerprint = |time: &str, replays| {
            let properties = properties(&[
                (headers::FAILED_AT, long(time)),
                (headers::REPLAYS, AMQPValue::LongInt(replays)),
            ]);
            DeadLetter::from_message("q", 1, &properties, BODY).fingerprint
        };
        let first = fingerprint("2026-02-03T10:00:00Z", 0);
        assert_eq!(first, fingerprint("2026-02-03T10:00:00Z", 0));
        assert_ne!(first, fingerprint("2026-02-03T10:00:01Z", 0));
        assert_ne!(first, fingerprint("2026-02-03T10:00:00Z", 1));
        let in_queue = |queue| {
            DeadLetter::from_message(queue, 1, &BasicProperties::default(), BODY).fingerprint
        };
        assert_ne!(
            in_queue("inventory.q"),
            in_queue("wuphf.q"),
            "dead-lettered in another queue"
        );
    }

    #[test]
    fn fingerprint_of_a_recorded_letter_is_its_letter_id_unless_changed() {
        let event = BasicProperties::default().with_message_id("evt_1".into());
        let message = LetterMessage {
            queue: "q",
            properties: &event,
            body: BODY,
        };
        let letter_id = message.letter_id().unwrap();
        let recorded = |time: &str| {
            properties(&[
                (headers::LETTER, long(&letter_id)),
                (headers::FAILED_AT, long(time)),
            ])
        };
        for time in ["2026-02-03T10:00:00Z", "2026-02-03T10:00:16Z"] {
            let letter = DeadLetter::from_message("q", 1, &recorded(time), BODY);
            assert!(letter.has_record, "two copies are one letter");
            assert_eq!(letter.fingerprint, letter_id);
        }
        let changed =
            DeadLetter::from_message("q", 1, &recorded(""), br#"{"id":"evt_1","data":1}"#);
        assert!(!changed.has_record && changed.fingerprint != letter_id);
    }
}
