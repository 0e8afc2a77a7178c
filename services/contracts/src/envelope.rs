//! The envelope of every event: CloudEvents 1.0 as structured JSON.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::time;

/// The version of CloudEvents that is spoken.
pub const SPEC_VERSION: &str = "1.0";

/// The content type of a message that holds an envelope.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A fact that a service tells the others.
pub trait DomainEvent: Serialize + DeserializeOwned {
    /// The type in the envelope.
    const TYPE: &'static str;
    /// The routing key on [`crate::topology::EVENTS`].
    const ROUTING_KEY: &'static str;
    /// The publishing service as the envelope names it.
    const SOURCE: &'static str;

    /// The aggregate, e.g. `order/ord_9001`.
    fn subject(&self) -> String;

    /// When it happened.
    fn time(&self) -> DateTime<Utc>;
}

/// One event with all that says what it is. Unknown fields are ignored.
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
    /// The aggregate, e.g. `order/ord_9001`. Events of one keep their order.
    #[serde(default)]
    pub subject: String,
    /// When the business fact happened, as text: a consumer may still use an event
    /// whose time can't be read.
    #[serde(default)]
    pub time: String,
    /// Always `application/json`.
    #[serde(default = "json_content")]
    pub datacontenttype: String,
    /// What happened, by type.
    pub data: Value,
}

fn json_content() -> String {
    "application/json".to_owned()
}

/// What of an envelope says which event it is, of anything that may be one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct EventAttributes {
    /// Its id.
    pub id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Its aggregate.
    pub subject: Option<String>,
}

impl EventAttributes {
    /// Reads the body of a message without reading all of it; nothing is known of one
    /// that is no envelope.
    #[must_use]
    pub fn from_body(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// Why a message is no event that can be handled. Neither gets better by trying
/// again.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// The body is no envelope.
    #[error("the body is not a CloudEvents envelope: {0}")]
    Unparsable(#[source] serde_json::Error),
    /// The envelope speaks another version.
    #[error("unsupported CloudEvents version {0}")]
    UnsupportedVersion(String),
    /// The event has no id.
    #[error("the event has no id")]
    MissingId,
    /// The event came by the routing key of another type. Who may publish what goes by keys.
    #[error("{event_type} has the routing key {expected}, but was published with {routing_key}")]
    WrongRoutingKey {
        /// The event's type.
        event_type: String,
        /// The key of that type.
        expected: &'static str,
        /// The key that it came by.
        routing_key: String,
    },
    /// Mandatory data is missing, or of another type.
    #[error("invalid data of {event_type}: {source}")]
    InvalidData {
        /// The event's type.
        event_type: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl EnvelopeError {
    /// A stable word for it, as dead letters carry it.
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
    /// The envelope of a new event, with an id of its own.
    #[must_use]
    pub fn new<E: DomainEvent>(event: &E) -> Self {
        Self::with_id(event, new_id())
    }

    /// The envelope of an event that has an id.
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
            // Events are plain structs: strings, numbers and lists.
            data: serde_json::to_value(event).unwrap_or(Value::Null),
        }
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// [`EnvelopeError`] where it is no envelope, or one of another version.
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

    /// The data as a type. What the type doesn't know is ignored.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] where a field is missing or of another type.
    pub fn parse_data<D: DeserializeOwned>(&self) -> Result<D, EnvelopeError> {
        D::deserialize(&self.data).map_err(|source| EnvelopeError::InvalidData {
            event_type: self.event_type.clone(),
            source,
        })
    }

    /// When it happened; now where that can't be read.
    #[must_use]
    pub fn time_or_now(&self) -> DateTime<Utc> {
        time::parse(&self.time).unwrap_or_else(time::now)
    }

    /// An instant of the data; the envelope's where that can't be read.
    #[must_use]
    pub fn parse_instant_or_time(&self, text: Option<&str>) -> DateTime<Utc> {
        text.and_then(time::parse)
            .unwrap_or_else(|| self.time_or_now())
    }
}

/// A new event's id.
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

    fn failed(order: &str, missing: i64) -> StockFailed {
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
    fn an_envelope_says_what_it_is() {
        let envelope = Envelope::new(&failed("ord_9001", 3));
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
    fn what_is_no_event_says_why() {
        let code = |body: &str| Envelope::parse(body.as_bytes()).map_err(|error| error.reason());
        assert_eq!(code("{"), Err("unparsable"));
        assert_eq!(code(r#"{"specversion":"1.0"}"#), Err("unparsable"));
        let mut envelope = Envelope::new(&failed("ord_1", 1));
        envelope.specversion = "0.3".to_owned();
        let body = serde_json::to_string(&envelope).unwrap();
        assert_eq!(code(&body), Err("unparsable"));
    }

    #[test]
    fn a_heading_is_read_of_anything() {
        let heading =
            EventAttributes::from_body(br#"{"id":"evt_1","type":"t","subject":"s","data":[1]}"#);
        assert_eq!(heading.id.as_deref(), Some("evt_1"));
        assert_eq!(heading.subject.as_deref(), Some("s"));
        for body in [&b""[..], b"{", b"[]", b"{\"id\":7}", b"\xff"] {
            assert_eq!(EventAttributes::from_body(body), EventAttributes::default());
        }
    }

    #[test]
    fn missing_data_is_another_matter() {
        let mut envelope = Envelope::new(&failed("ord_1", 1));
        envelope.data["orderId"].take();
        let error = envelope.parse_data::<StockFailed>().unwrap_err();
        assert_eq!(error.reason(), "invalid-data");
        assert!(error.to_string().contains("stock.failed"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// A body that is nearly an envelope is read as one or refused with a reason, and the
        /// heading of one that is read is that of the envelope.
        #[test]
        fn any_body_is_read_or_refused(
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
            let mut body = serde_json::to_vec(&Envelope::new(&failed(&order, 1))).unwrap();
            for (place, piece, removed) in changes {
                let place = place.index(body.len() + 1);
                let end = (place + removed).min(body.len());
                body.splice(place..end, piece);
            }
            match Envelope::parse(&body) {
                Ok(envelope) => {
                    prop_assert_eq!(&envelope.specversion, SPEC_VERSION);
                    prop_assert!(!envelope.id.trim().is_empty());
                    prop_assert_eq!(EventAttributes::from_body(&body).id, Some(envelope.id.clone()));
                    let written = serde_json::to_vec(&envelope).unwrap();
                    prop_assert_eq!(Envelope::parse(&written).unwrap(), envelope);
                }
                Err(error) => prop_assert!(["unparsable", "invalid-data"].contains(&error.reason())),
            }
        }
        #[test]
        fn an_event_survives_the_wire(order in "[a-z0-9_\\\\\"ü ]{1,20}", missing in 1i64..1_000_000) {
            let event = failed(&order, missing);
            let body = serde_json::to_vec(&Envelope::new(&event)).unwrap();
            let envelope = Envelope::parse(&body).unwrap();
            prop_assert_eq!(envelope.parse_data::<StockFailed>().unwrap(), event);
        }
    }
}
