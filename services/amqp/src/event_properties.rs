//! The message of an event.

use dm_contracts::{envelope, headers};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::{DELIVERY_MODE_PERSISTENT, header};

/// What a message says of its event beside the body. Relay, repair and restore publish one
/// event alike.
#[derive(Debug, Clone, Copy)]
pub struct EventProperties<'a> {
    /// The envelope's id.
    pub id: &'a str,
    /// The envelope's type.
    pub event_type: &'a str,
    /// What caused it, as a W3C trace context.
    pub traceparent: Option<&'a str>,
}

impl EventProperties<'_> {
    /// The properties of its message, which survives a restart of the broker.
    #[must_use]
    pub fn to_basic_properties(&self) -> BasicProperties {
        let mut table = FieldTable::default();
        if let Some(parent) = self.traceparent {
            table.insert(headers::TRACEPARENT.into(), header::text_value(parent));
        }
        BasicProperties::default()
            .with_message_id(self.id.into())
            .with_type(self.event_type.into())
            .with_content_type(envelope::CONTENT_TYPE.into())
            .with_delivery_mode(DELIVERY_MODE_PERSISTENT)
            .with_headers(table)
    }

    /// The same for an event that goes to one queue again: with the round that it goes into,
    /// where its consumer has a record of earlier ones. In one of those it would not be
    /// handled.
    #[must_use]
    pub fn to_republish_properties(&self, round: Option<i64>) -> BasicProperties {
        let round = round.map(|round| (headers::REPLAYS, AMQPValue::LongLongInt(round)));
        header::with_headers(&self.to_basic_properties(), round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_goes_again_differs_in_its_round_alone() {
        let event = EventProperties {
            id: "evt_1",
            event_type: "t.v1",
            traceparent: Some("00-a-b-01"),
        };
        assert_eq!(
            event.to_republish_properties(None),
            event.to_basic_properties()
        );
        let again = event.to_republish_properties(Some(2));
        let table = again.headers().as_ref().unwrap();
        assert_eq!(header::get_number(table, headers::REPLAYS), Some(2));
        assert_eq!(
            header::get_text(table, headers::TRACEPARENT).as_deref(),
            Some("00-a-b-01")
        );
        assert_eq!(again.message_id(), event.to_basic_properties().message_id());
    }
}
