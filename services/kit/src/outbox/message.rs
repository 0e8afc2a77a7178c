//! Builds the message of an event.

use dm_amqp::EventProperties;
use dm_contracts::topology;

use super::store::PendingEvent;
use crate::broker::OutgoingMessage;

/// Maximum length of a routing key, a type or an id in AMQP, in bytes.
const SHORT_STRING_LIMIT: usize = 255;

/// The error of an event that is not publishable.
pub(super) const TOO_LONG_ERROR: &str = "its routing key, type or id is longer than AMQP allows";

/// Returns whether the texts of a row fit into a message. An attempt to publish longer ones
/// closes the connection.
pub(super) fn is_publishable(pending: &PendingEvent) -> bool {
    [&pending.routing_key, &pending.event_type, &pending.event_id]
        .iter()
        .all(|text| text.len() <= SHORT_STRING_LIMIT)
}

/// Builds the message of a row. Moves the envelope out of the row.
pub(super) fn build_message(pending: &mut PendingEvent) -> OutgoingMessage {
    let event = EventProperties {
        id: &pending.event_id,
        event_type: &pending.event_type,
        traceparent: pending.traceparent.as_deref(),
    };
    let properties = event.to_basic_properties();
    OutgoingMessage {
        exchange: topology::EVENT_EXCHANGE.to_owned(),
        // Some events are for external consumers: no queue of the stack is bound to them.
        mandatory: topology::queues_for(&pending.routing_key).next().is_some(),
        routing_key: pending.routing_key.clone(),
        properties,
        body: pending.payload.take().unwrap_or_default().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    #[test]
    fn message_body_is_the_stored_text_unchanged() {
        let text = r#"{"z":1.0,  "a":1,"a":2e-7,"n":12345678901234567890.50,"t":"\u00fc\/"} "#;
        let mut pending = PendingEvent {
            sequence: 1,
            event_id: "evt_1".into(),
            event_type: "t.v1".into(),
            routing_key: "t.v1".into(),
            subject: "t/1".into(),
            traceparent: None,
            payload: Some(text.into()),
            payload_size: 0,
            attempts: 0,
            created_at: Utc::now(),
            was_delayed: false,
        };
        let message = build_message(&mut pending);
        assert_eq!(message.body, text.as_bytes());
        assert_eq!(
            message.properties.message_id().as_ref().unwrap().as_str(),
            "evt_1"
        );
        assert!(!message.mandatory, "no queue is bound to it");
    }
}
