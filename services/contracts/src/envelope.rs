//! The envelope of every event: CloudEvents 1.0 as structured JSON.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::time;

/// The supported version of CloudEvents.
pub const SPEC_VERSION: &str = "1.0";

/// The content type of a message whose body is an envelope.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A business fact that a service publishes.
pub trait DomainEvent: Serialize + DeserializeOwned {
    /// The type in the envelope.
    const TYPE: &'static str;
    /// The routing key on [`crate::topology::EVENT_EXCHANGE`].
    const ROUTING_KEY: &'static str;
    /// The publishing service as the envelope names it.
    const SOURCE: &'static str;

    /// Returns the aggregate, e.g. `order/ord_9001`.
    fn subject(&self) -> String;

    /// Returns the time of the business fact.
    fn time(&self) -> DateTime<Utc>;
}

/// An event with its CloudEvents attributes. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Always [`SPEC_VERSION`].
    pub specversion: String,
    /// `evt_` and 32 hexadecimal digits: unique, and the same on every delivery.
    pub id: String,
    /// `com.dundermifflin.….v1`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The publishing service, e.g. `/order-service`.
    pub source: String,
    /// The aggregate, e.g. `order/ord_9001`. Events of one aggregate keep their order.
    #[serde(default)]
    pub subject: String,
    /// Time of the business fact, as text: a consumer can still use an event whose time
    /// is not valid.
    #[serde(default)]
    pub time: String,
    /// Always `application/json`.
    #[serde(default = "json_content")]
    pub datacontenttype: String,
    /// The data of the event, whose form depends on its type.
    pub data: Value,
}

fn json_content() -> String {
    "application/json".to_owned()
}

/// The identifying attributes of a message body that may be an envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct EventAttributes {
    /// Id of the event.
    pub id: Option<String>,
    /// Type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Aggregate of the event.
    pub subject: Option<String>,
}

impl EventAttributes {
    /// Reads the attributes without deserializing the rest of the body. All are missing if
    /// the body is not an envelope.
    #[must_use]
    pub fn from_body(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// A message that cannot be processed as an event. A retry does not help.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// The body is not an envelope.
    #[error("the body is not a CloudEvents envelope: {0}")]
    Unparsable(#[source] serde_json::Error),
    /// The envelope has another version.
    #[error("unsupported CloudEvents version {0}")]
    UnsupportedVersion(String),
    /// The event has no id.
    #[error("the event has no id")]
    MissingId,
    /// The event was published with the routing key of another type. Publish permissions
    /// depend on routing keys.
    #[error("{event_type} has the routing key {expected}, but was published with {routing_key}")]
    WrongRoutingKey {
        /// Type of the event.
        event_type: String,
        /// Routing key of that type.
        expected: &'static str,
        /// Routing key of the message.
        routing_key: String,
    },
    /// A mandatory field is missing, or has another type.
    #[error("invalid data of {event_type}: {source}")]
    InvalidData {
        /// Type of the event.
        event_type: String,
        /// The cause.
        source: serde_json::Error,
    },
}

impl EnvelopeError {
    /// Returns the stable code that dead letters carry.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unparsable(_) | Self::UnsupportedVersion(_) | Self::MissingId => "unparsable",
            Self::WrongRoutingKey { .. } => "wrong-routing-key",
            Self::InvalidData { .. } => "invalid-data",
        }
    }
}

impl Envelope {
    /// Returns the envelope of a new event, with a new id.
    #[must_use]
    pub fn new<E: DomainEvent>(event: &E) -> Self {
        Self::with_id(event, new_id())
    }

    /// Returns the envelope of an event with this id.
    #[must_use]
    pub fn with_id<E: DomainEvent>(event: &E, id: String) -> Self {
        Self {
            specversion: SPEC_VERSION.to_owned(),
            id,
            event_type: E::TYPE.to_owned(),
            source: E::SOURCE.to_owned(),
            subject: event.subject(),
            time: time::format(event.time()),
            datacontenttype: json_content(),
            // Cannot fail: events are plain structs of strings, numbers and lists.
            data: serde_json::to_value(event).unwrap_or(Value::Null),
        }
    }

    /// Parses the body of a message.
    ///
    /// # Errors
    /// Returns [`EnvelopeError`] if the body is not an envelope, or one of another version or
    /// without an id.
    pub fn parse(body: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = serde_json::from_slice(body).map_err(EnvelopeError::Unparsable)?;
        if envelope.specversion != SPEC_VERSION {
            return Err(EnvelopeError::UnsupportedVersion(envelope.specversion));
        }
        if envelope.id.trim().is_empty() {
            return Err(EnvelopeError::MissingId);
        }
        Ok(envelope)
    }

    /// Deserializes the data. Unknown fields are ignored.
    ///
    /// # Errors
    /// Returns [`EnvelopeError::InvalidData`] if a field is missing or has another type.
    pub fn parse_data<D: DeserializeOwned>(&self) -> Result<D, EnvelopeError> {
        D::deserialize(&self.data).map_err(|source| EnvelopeError::InvalidData {
            event_type: self.event_type.clone(),
            source,
        })
    }

    /// Returns the time of the business fact, or the current time if it is not valid.
    #[must_use]
    pub fn time_or_now(&self) -> DateTime<Utc> {
        time::parse(&self.time).unwrap_or_else(time::now)
    }

    /// Parses an instant of the data. Returns the time of the envelope if it is not valid.
    #[must_use]
    pub fn parse_instant_or_time(&self, text: Option<&str>) -> DateTime<Utc> {
        text.and_then(time::parse)
            .unwrap_or_else(|| self.time_or_now())
    }
}

/// Returns the id of a new event.
#[must_use]
pub fn new_id() -> String {
    format!("evt_{}", Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::StockFailed;
    use crate::events::{MissingItem, stock};

    fn stock_failed(order: &str, missing: i64) -> StockFailed {
        StockFailed {
            order_id: order.to_owned(),
            status: stock::FAILED.to_owned(),
            missing_items: vec![MissingItem {
                sku: "PPR-A4-WHT-500".to_owned(),
                missing_quantity: missing,
            }],
            at: time::now(),
        }
    }

    #[test]
    fn envelope_has_type_source_and_subject_of_its_event() {
        let envelope = Envelope::new(&stock_failed("ord_9001", 3));
        assert_eq!(
            envelope.event_type,
            "com.dundermifflin.inventory.stock.failed.v1"
        );
        assert_eq!(envelope.source, "/inventory-service");
        assert_eq!(envelope.subject, "order/ord_9001");
        assert_eq!(envelope.data["missingItems"][0]["missingQuantity"], 3);
        assert_eq!(envelope.id.len(), 36);
    }

    #[test]
    fn body_without_a_valid_envelope_is_unparsable() {
        let parse = |body: &str| Envelope::parse(body.as_bytes()).map_err(|error| error.reason());
        assert_eq!(parse("{"), Err("unparsable"));
        assert_eq!(parse(r#"{"specversion":"1.0"}"#), Err("unparsable"));
        let mut envelope = Envelope::new(&stock_failed("ord_1", 1));
        envelope.specversion = "0.3".to_owned();
        let body = serde_json::to_string(&envelope).unwrap();
        assert_eq!(parse(&body), Err("unparsable"));
    }

    #[test]
    fn attributes_of_a_body_that_is_not_an_envelope_are_empty() {
        let attributes =
            EventAttributes::from_body(br#"{"id":"evt_1","type":"t","subject":"s","data":[1]}"#);
        assert_eq!(attributes.id.as_deref(), Some("evt_1"));
        assert_eq!(attributes.subject.as_deref(), Some("s"));
        for body in [&b""[..], b"{", b"[]", b"{\"id\":7}", b"\xff"] {
            assert_eq!(EventAttributes::from_body(body), EventAttributes::default());
        }
    }

    #[test]
    fn missing_mandatory_field_is_invalid_data() {
        let mut envelope = Envelope::new(&stock_failed("ord_1", 1));
        envelope.data["orderId"].take();
        let error = envelope.parse_data::<StockFailed>().unwrap_err();
        assert_eq!(error.reason(), "invalid-data");
        assert!(error.to_string().contains("stock.failed"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// A mutated envelope is parsed, or rejected with a reason. If it is parsed, its
        /// attributes are those of the envelope.
        #[test]
        fn mutated_body_is_parsed_or_rejected_with_a_reason(
            order in "[a-z0-9_]{1,8}",
            changes in proptest::collection::vec(
                (any::<proptest::sample::Index>(), prop_oneof![
                    any::<u8>().prop_map(|byte| vec![byte]),
                    proptest::sample::select(vec![
                        "null", "\"", "\\u0000", "{", "}", ",", "1e999", "\"id\":\"\",", "0.3", " ",
                    ]).prop_map(|text| text.as_bytes().to_vec()),
                ], 0..3_usize),
                0..5,
            ),
        ) {
            let mut body = serde_json::to_vec(&Envelope::new(&stock_failed(&order, 1))).unwrap();
            for (index, replacement, removed) in changes {
                let start = index.index(body.len() + 1);
                let end = (start + removed).min(body.len());
                body.splice(start..end, replacement);
            }
            match Envelope::parse(&body) {
                Ok(envelope) => {
                    prop_assert_eq!(&envelope.specversion, SPEC_VERSION);
                    prop_assert!(!envelope.id.trim().is_empty());
                    prop_assert_eq!(EventAttributes::from_body(&body).id, Some(envelope.id.clone()));
                    let serialized = serde_json::to_vec(&envelope).unwrap();
                    prop_assert_eq!(Envelope::parse(&serialized).unwrap(), envelope);
                }
                Err(error) => prop_assert!(["unparsable", "invalid-data"].contains(&error.reason())),
            }
        }

        #[test]
        fn event_round_trips_through_its_envelope(order in "[a-z0-9_\\\\\"ü ]{1,20}", missing in 1i64..1_000_000) {
            let event = stock_failed(&order, missing);
            let body = serde_json::to_vec(&Envelope::new(&event)).unwrap();
            let envelope = Envelope::parse(&body).unwrap();
            prop_assert_eq!(envelope.parse_data::<StockFailed>().unwrap(), event);
        }
    }
}
