//! The events that a repair publishes again, and their messages.

use std::collections::BTreeMap;

use dm_amqp::{EventProperties, OutgoingMessage, header_value};
use dm_contracts::{envelope, headers};
use sqlx::FromRow;

use crate::reconcile::report::{FindingKind, ReconcileFinding};

/// Returns the ids of the missing events by the queue where they are missing.
pub(super) fn missing_by_queue(findings: &[ReconcileFinding]) -> BTreeMap<&str, Vec<&str>> {
    let mut queues: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for finding in findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::Missing)
    {
        queues.entry(&finding.scope).or_default().push(&finding.id);
    }
    queues
}

/// An event in an outbox.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(super) struct OutboxEvent {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) traceparent: Option<String>,
    pub(super) payload: String,
}

/// The last edit of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastEdit {
    /// The id that the event got.
    pub(super) id: String,
    /// The id that the event had before.
    pub(super) previous_id: Option<String>,
    /// The edited body.
    pub(super) body: Option<String>,
}

/// An event to publish again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepublishedEvent {
    /// The current id.
    pub(super) id: String,
    /// The previous id, if the event was edited.
    previous_id: Option<String>,
    event_type: String,
    traceparent: Option<String>,
    payload: String,
    /// The new round, if the consumer has a record of earlier rounds: it ignores an event in a
    /// recorded round.
    round: Option<i64>,
}

impl RepublishedEvent {
    /// Returns the event with its last edit, if it was edited, and without a round.
    pub(super) fn new(event: OutboxEvent, edit: Option<LastEdit>) -> Self {
        let Some(edit) = edit else {
            return Self {
                id: event.event_id,
                previous_id: None,
                event_type: event.event_type,
                traceparent: event.traceparent,
                payload: event.payload,
                round: None,
            };
        };
        let payload = edit.body.unwrap_or_default();
        // The edit may have changed the type of the event.
        let event_type = envelope::EventAttributes::from_body(payload.as_bytes()).event_type;
        Self {
            id: edit.id,
            previous_id: edit.previous_id,
            event_type: event_type.unwrap_or(event.event_type),
            traceparent: event.traceparent,
            payload,
            round: None,
        }
    }

    /// Sets the round.
    pub(super) fn with_round(self, round: Option<i64>) -> Self {
        Self { round, ..self }
    }

    /// Returns the message for the queue, with the properties that its relay or replay used.
    pub(super) fn to_message(&self, queue: &str) -> OutgoingMessage {
        let properties = EventProperties {
            id: &self.id,
            event_type: &self.event_type,
            traceparent: self.traceparent.as_deref(),
        }
        .to_republish_properties(self.round);
        let previous_id = self.previous_id.as_deref();
        let edited = previous_id.map(|id| (headers::EDITED, header_value::text_value(id)));
        OutgoingMessage {
            exchange: String::new(),
            routing_key: queue.to_owned(),
            mandatory: true,
            properties: header_value::with_headers(&properties, edited),
            body: self.payload.clone().into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox_event() -> OutboxEvent {
        OutboxEvent {
            event_id: "evt_1".into(),
            event_type: "order.created.v1".into(),
            traceparent: Some("00-a-b-01".into()),
            payload: r#"{"id":"evt_1","type":"order.created.v1"}"#.into(),
        }
    }

    fn edit(body: Option<&str>) -> LastEdit {
        LastEdit {
            id: "evt_3".into(),
            previous_id: Some("evt_2".into()),
            body: body.map(str::to_owned),
        }
    }

    /// Returns the text of a header.
    fn header(message: &OutgoingMessage, name: &str) -> Option<String> {
        let table = message.properties.headers().as_ref()?;
        header_value::get_text(table, name)
    }

    fn message_id(message: &OutgoingMessage) -> Option<String> {
        let id = message.properties.message_id().as_ref();
        id.map(ToString::to_string)
    }

    fn message_type(message: &OutgoingMessage) -> Option<String> {
        let kind = message.properties.kind().as_ref();
        kind.map(ToString::to_string)
    }

    #[test]
    fn only_missing_events_are_published_again_each_to_its_queue() {
        let finding = |kind, scope: &str, id: &str| ReconcileFinding {
            kind,
            scope: scope.to_owned(),
            id: id.to_owned(),
            detail: String::new(),
        };
        let findings = [
            finding(FindingKind::Missing, "wuphf.q", "b"),
            finding(FindingKind::Doubled, "order.q", "b"),
            finding(FindingKind::Missing, "inventory.q", "b"),
            finding(FindingKind::Orphaned, "inventory.q", "c"),
            finding(FindingKind::Missing, "inventory.q", "a"),
            finding(FindingKind::Broken, "order-total", "d"),
        ];
        let queues: Vec<_> = missing_by_queue(&findings).into_iter().collect();
        assert_eq!(
            queues,
            [("inventory.q", vec!["b", "a"]), ("wuphf.q", vec!["b"])]
        );
        assert!(missing_by_queue(&[]).is_empty());
    }

    #[test]
    fn unedited_event_is_published_as_its_relay_published_it() {
        let message = RepublishedEvent::new(outbox_event(), None).to_message("inventory.q");
        assert_eq!(message_id(&message).as_deref(), Some("evt_1"));
        assert_eq!(message_type(&message).as_deref(), Some("order.created.v1"));
        assert_eq!(message.body, outbox_event().payload.as_bytes());
        let traceparent = header(&message, headers::TRACEPARENT);
        assert_eq!(traceparent.as_deref(), Some("00-a-b-01"));
        assert_eq!(header(&message, headers::EDITED), None);
    }

    #[test]
    fn missing_event_is_published_to_one_queue_only() {
        let message = RepublishedEvent::new(outbox_event(), None).to_message("inventory.q");
        // The routing key of the default exchange is the name of a queue.
        assert_eq!(
            (message.exchange.as_str(), message.routing_key.as_str()),
            ("", "inventory.q")
        );
        // The broker returns the message if the queue does not exist.
        assert!(message.mandatory);
    }

    #[test]
    fn edited_event_is_published_with_id_body_and_type_of_its_last_edit() {
        let body = r#"{"id":"evt_3","type":"order.cancelled.v1"}"#;
        let event = RepublishedEvent::new(outbox_event(), Some(edit(Some(body))));
        let message = event.to_message("inventory.q");
        assert_eq!(message_id(&message).as_deref(), Some("evt_3"));
        assert_eq!(
            message_type(&message).as_deref(),
            Some("order.cancelled.v1")
        );
        assert_eq!(message.body, body.as_bytes());
        let edited = header(&message, headers::EDITED);
        assert_eq!(edited.as_deref(), Some("evt_2"));
        let traceparent = header(&message, headers::TRACEPARENT);
        assert_eq!(traceparent.as_deref(), Some("00-a-b-01"));
    }

    #[test]
    fn edited_event_keeps_its_type_if_the_edited_body_has_none() {
        for body in [Some(r#"{"id":"evt_3"}"#), Some("no envelope"), None] {
            let event = RepublishedEvent::new(outbox_event(), Some(edit(body)));
            let message = event.to_message("inventory.q");
            assert_eq!(message_type(&message).as_deref(), Some("order.created.v1"));
            assert_eq!(message.body, body.unwrap_or_default().as_bytes());
        }
    }

    #[test]
    fn message_has_a_round_only_after_earlier_rounds() {
        let event = RepublishedEvent::new(outbox_event(), None);
        let round = |round| {
            let message = event.clone().with_round(round).to_message("inventory.q");
            let table = message.properties.headers().as_ref().unwrap();
            header_value::get_number(table, headers::REPLAYS)
        };
        assert_eq!(round(None), None);
        assert_eq!(round(Some(1)), Some(1));
        assert_eq!(round(Some(4)), Some(4));
    }
}
