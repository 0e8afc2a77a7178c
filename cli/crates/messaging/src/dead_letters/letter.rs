//! One dead letter, understood.

use chrono::{DateTime, TimeZone as _, Utc};
use dm_amqp::OriginalMessage;
use dm_amqp::header::{as_text, get_number, get_text};
use dm_amqp::letter_id::LetterMessage;
use dm_contracts::envelope::EventAttributes;
use dm_contracts::{headers, time};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;

/// The reason of a letter that nobody gave one.
const UNKNOWN_REASON: &str = "unknown";

/// What is known of a dead letter. Everything but its place may be missing: anybody can
/// put anything into a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The work queue that it failed in.
    pub queue: String,
    /// Its place in the dead-letter queue, from 1.
    pub position: u64,
    /// The event's id.
    pub id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The event's aggregate.
    pub subject: Option<String>,
    /// The routing key that it was first published with.
    pub routing_key: Option<String>,
    /// A stable word for why it is here.
    pub reason: String,
    /// The last error, in words.
    pub error: Option<String>,
    /// The service that gave up.
    pub service: Option<String>,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
    /// How often it was tried.
    pub attempts: u64,
    /// How often it was replayed before.
    pub replays: u64,
    /// When it failed last.
    pub failed_at: Option<DateTime<Utc>>,
    /// Tells this letter from every other one, the same event's that failed before or
    /// after among them. Where a consumer has a record of it, the record's key; otherwise
    /// over everything that it is made of, so that letters that are alike have the same.
    pub fingerprint: String,
    /// Whether a consumer has a record of it: then a second one is a copy of it, and no
    /// letter of its own.
    #[serde(skip)]
    pub has_record: bool,
}

impl DeadLetter {
    /// Reads what a message says.
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
        let own = |name| table.and_then(|table| get_text(table, name));
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
        let record = own(headers::LETTER).filter(|letter| message.matches_letter_id(letter));
        Self {
            queue: queue.to_owned(),
            position,
            has_record: record.is_some(),
            fingerprint: record.unwrap_or_else(|| message.fingerprint()),
            id: message_id.or(event.id),
            event_type: event.event_type.or(kind),
            subject: event.subject.filter(|subject| !subject.is_empty()),
            routing_key: own(headers::ROUTING_KEY)
                .or_else(|| death.as_ref().and_then(|death| death.routing_key.clone())),
            reason: own(headers::REASON)
                .or_else(|| death.as_ref().and_then(|death| death.reason.clone()))
                .unwrap_or_else(|| UNKNOWN_REASON.to_owned()),
            error: own(headers::ERROR),
            service: own(headers::SERVICE),
            trace_id: own(headers::TRACE_ID)
                .or_else(|| own(headers::TRACEPARENT).and_then(|parent| parse_trace_id(&parent))),
            attempts: count(headers::ATTEMPTS),
            replays: count(headers::REPLAYS),
            failed_at: own(headers::FAILED_AT)
                .and_then(|at| time::parse(&at))
                .or_else(|| death.and_then(|death| death.died_at)),
        }
    }
}

/// Why the broker itself set a message aside: the first entry of `x-death`
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
        let at = match death.inner().get("time") {
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
            // As our own reasons are written.
            reason: get_text(death, "reason").map(|reason| reason.replace('_', "-")),
            routing_key,
            died_at: at,
        })
    }
}

/// The trace id of a W3C trace context.
fn parse_trace_id(parent: &str) -> Option<String> {
    parent.split('-').nth(1).map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn properties(own: &[(&str, AMQPValue)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in own {
            table.insert((*name).into(), value.clone());
        }
        BasicProperties::default()
            .with_message_id("evt_1".into())
            .with_headers(table)
    }

    const BODY: &[u8] = br#"{"id":"evt_1","type":"t.v1","subject":"order/ord_1","data":{}}"#;

    #[test]
    fn what_a_service_said_is_understood() {
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
    fn what_the_broker_said_is_understood() {
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
    fn anything_can_be_a_dead_letter() {
        for body in [&b""[..], b"{", b"[]", b"{\"id\":7}", b"\xff"] {
            let letter = DeadLetter::from_message("q", 1, &BasicProperties::default(), body);
            assert_eq!((letter.reason.as_str(), letter.id), ("unknown", None));
        }
    }

    #[test]
    fn the_same_event_that_failed_again_is_another_letter() {
        let at = |time: &str, replays| {
            let properties = properties(&[
                (headers::FAILED_AT, long(time)),
                (headers::REPLAYS, AMQPValue::LongInt(replays)),
            ]);
            DeadLetter::from_message("q", 1, &properties, BODY).fingerprint
        };
        let first = at("2026-02-03T10:00:00Z", 0);
        assert_eq!(first, at("2026-02-03T10:00:00Z", 0));
        assert_ne!(first, at("2026-02-03T10:00:01Z", 0));
        assert_ne!(first, at("2026-02-03T10:00:00Z", 1));
        let of = |queue| {
            DeadLetter::from_message(queue, 1, &BasicProperties::default(), BODY).fingerprint
        };
        assert_ne!(of("inventory.q"), of("wuphf.q"), "dead in another queue");
    }

    #[test]
    fn a_letter_that_was_recorded_is_known_by_its_record_unless_it_was_changed() {
        let event = BasicProperties::default().with_message_id("evt_1".into());
        let record = LetterMessage {
            queue: "q",
            properties: &event,
            body: BODY,
        };
        let record = record.letter_id().unwrap();
        let at = |time: &str| {
            properties(&[
                (headers::LETTER, long(&record)),
                (headers::FAILED_AT, long(time)),
            ])
        };
        for time in ["2026-02-03T10:00:00Z", "2026-02-03T10:00:16Z"] {
            let letter = DeadLetter::from_message("q", 1, &at(time), BODY);
            assert!(letter.has_record, "published twice, it is one letter");
            assert_eq!(letter.fingerprint, record);
        }
        let changed = DeadLetter::from_message("q", 1, &at(""), br#"{"id":"evt_1","data":1}"#);
        assert!(!changed.has_record && changed.fingerprint != record);
    }
}
