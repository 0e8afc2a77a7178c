//! Validates a dead letter that was edited before its replay.

use dm_contracts::topology::{EVENT_QUEUES, binding_matches};
use dm_contracts::{Envelope, envelope, events};

use super::json_text::RawObject;
use super::replay_audit::EditedEvent;

/// Validates an edited event and assigns a new id. It is another event, and inboxes that contain
/// the old id must not treat it as a duplicate.
///
/// # Errors
/// Returns the reason if the text is not an event that the queue receives.
pub fn validate_edit(queue: &str, before: &str, after: &str) -> Result<EditedEvent, String> {
    if before.trim() == after.trim() {
        return Err("the event was not changed; replay it without --edit".into());
    }
    let event = Envelope::parse(after.as_bytes()).map_err(|error| error.to_string())?;
    let Some(definition) = events::find_definition(&event.event_type) else {
        return Err(format!("unknown event type {}", event.event_type));
    };
    definition
        .validate(&event)
        .map_err(|error| error.to_string())?;
    let is_received = EVENT_QUEUES
        .iter()
        .filter(|known| known.name == queue)
        .any(|known| {
            known
                .bindings
                .iter()
                .any(|binding| binding_matches(binding, definition.routing_key))
        });
    if !is_received {
        return Err(format!(
            "{queue} does not receive events of type {}",
            event.event_type
        ));
    }
    let id = envelope::new_id();
    // As text, so that unchanged numbers keep every digit.
    let mut body: RawObject = serde_json::from_str(after).map_err(|error| error.to_string())?;
    body.set_string("id", &id)
        .map_err(|error| error.to_string())?;
    let body = serde_json::to_string(&body).map_err(|error| error.to_string())?;
    Ok(EditedEvent { id, body })
}

#[cfg(test)]
mod tests {
    use dm_contracts::topology::{INVENTORY_QUEUE, ORDER_QUEUE};
    use serde_json::Value;

    use super::*;

    const GOOD: &str = r#"{"specversion": "1.0", "id": "evt_1", "source": "/order-service",
        "type": "com.dundermifflin.order.created.v1", "subject": "order/ord_1", "more": 1,
        "amount": 0.1000, "big": 12345678901234567890123,
        "data": {"orderId": "ord_1", "clientId": "c", "requestedShipDate": "2026-02-03",
                 "items": [{"sku": "a", "quantity": 1}], "createdBy": "jhalpert",
                 "createdAt": "2026-02-03T10:00:00Z"}}"#;

    #[test]
    fn edited_event_gets_a_new_id_and_keeps_its_digits() {
        let edited = validate_edit(INVENTORY_QUEUE, "{}", GOOD).unwrap();
        let body: Value = serde_json::from_str(&edited.body).unwrap();
        assert_eq!(body["id"], Value::String(edited.id.clone()));
        assert_ne!(edited.id, "evt_1");
        assert_eq!(body["more"], 1, "unknown fields stay");
        for digits in ["0.1000", "12345678901234567890123"] {
            assert!(edited.body.contains(digits), "{}", edited.body);
        }
    }

    #[test]
    fn invalid_or_unroutable_event_is_refused() {
        for (queue, after, part) in [
            (INVENTORY_QUEUE, "{}", "the event was not changed"),
            (INVENTORY_QUEUE, "{", "not a CloudEvents envelope"),
            (ORDER_QUEUE, GOOD, "does not receive events"),
            (
                INVENTORY_QUEUE,
                &GOOD.replace("orderId", "order"),
                "orderId",
            ),
            (
                INVENTORY_QUEUE,
                &GOOD.replace("created.v1", "created.v9"),
                "unknown event type",
            ),
        ] {
            let error = validate_edit(queue, "{}", after).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
