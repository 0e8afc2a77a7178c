//! The message properties of an event.

use dm_contracts::{envelope, headers};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::{DELIVERY_MODE_PERSISTENT, header_value};

/// The data from which the message properties of an event are made. Relay, repair and restore
/// use it, so that they publish an event identically.
#[derive(Debug, Clone, Copy)]
pub struct EventProperties<'a> {
    /// The id in the envelope.
    pub id: &'a str,
    /// The type in the envelope.
    pub event_type: &'a str,
    /// The W3C trace context of the request or event that caused it.
    pub traceparent: Option<&'a str>,
}

impl EventProperties<'_> {
    /// Returns the properties of a persistent message.
    #[must_use]
    pub fn to_basic_properties(&self) -> BasicProperties {
        let mut table = FieldTable::default();
        if let Some(parent) = self.traceparent {
            table.insert(
                headers::TRACEPARENT.into(),
                header_value::text_value(parent),
            );
        }
        BasicProperties::default()
            .with_message_id(self.id.into())
            .with_type(self.event_type.into())
            .with_content_type(envelope::CONTENT_TYPE.into())
            .with_delivery_mode(DELIVERY_MODE_PERSISTENT)
            .with_headers(table)
    }

    /// Returns the properties for publishing an event to one queue again. `round` is required
    /// if the consumer has a record of earlier rounds: it ignores an event in a recorded
    /// round.
    #[must_use]
    pub fn to_republish_properties(&self, round: Option<i64>) -> BasicProperties {
        let round = round.map(|round| (headers::REPLAYS, AMQPValue::LongLongInt(round)));
        header_value::with_headers(&self.to_basic_properties(), round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn republished_event_differs_only_in_its_round() {
        let event = EventProperties {
            id: "evt_1",
            event_type: "t.v1",
            traceparent: Some("00-a-b-01"),
        };
        assert_eq!(
            event.to_republish_properties(None),
            event.to_basic_properties()
        );
        let republished = event.to_republish_properties(Some(2));
        let table = republished.headers().as_ref().unwrap();
        assert_eq!(header_value::get_number(table, headers::REPLAYS), Some(2));
        assert_eq!(
            header_value::get_text(table, headers::TRACEPARENT).as_deref(),
            Some("00-a-b-01")
        );
        assert_eq!(
            republished.message_id(),
            event.to_basic_properties().message_id()
        );
    }
}
