//! The events of the catalogue (`docs/contracts/event_catalog_v1.md`).
//!
//! Publishers use these types. A consumer deserializes with its own type, which requires
//! only the fields that it needs.

mod finance;
mod inventory;
mod notification;
mod order;
mod profile;
mod sales;

pub use crate::envelope::DomainEvent;
use crate::envelope::{Envelope, EnvelopeError};
use crate::topology::EVENT_EXCHANGE;

pub use finance::{ExpenseDecided, ExpenseSubmitted};
pub use inventory::{
    MissingItem, PickingStarted, ShipmentDispatched, StockFailed, StockReserved, stock,
};
pub use notification::NotificationCreated;
pub use order::{OrderCancelled, OrderCreated, OrderReinstated, OrderStatusChanged};
pub use profile::ProfileUpdated;
pub use sales::LeadConverted;

/// The definition of an event type.
#[derive(Debug, Clone, Copy)]
pub struct EventDefinition {
    /// The type in the envelope.
    pub event_type: &'static str,
    /// The routing key.
    pub routing_key: &'static str,
    /// The publishing service as the envelope names it.
    pub source: &'static str,
    validate: fn(&Envelope) -> Result<(), EnvelopeError>,
}

impl EventDefinition {
    const fn new<E: DomainEvent>() -> Self {
        Self {
            event_type: E::TYPE,
            routing_key: E::ROUTING_KEY,
            source: E::SOURCE,
            validate: |envelope| envelope.parse_data::<E>().map(drop),
        }
    }

    /// Checks that the data of an event of this type is complete.
    ///
    /// # Errors
    /// Returns [`EnvelopeError::InvalidData`] if a field is missing or has another type.
    pub fn validate(&self, envelope: &Envelope) -> Result<(), EnvelopeError> {
        (self.validate)(envelope)
    }
}

/// The catalogue of all event types.
pub(crate) const CATALOGUE: [EventDefinition; 13] = [
    EventDefinition::new::<OrderCreated>(),
    EventDefinition::new::<OrderStatusChanged>(),
    EventDefinition::new::<OrderCancelled>(),
    EventDefinition::new::<OrderReinstated>(),
    EventDefinition::new::<StockReserved>(),
    EventDefinition::new::<StockFailed>(),
    EventDefinition::new::<PickingStarted>(),
    EventDefinition::new::<ShipmentDispatched>(),
    EventDefinition::new::<LeadConverted>(),
    EventDefinition::new::<ExpenseSubmitted>(),
    EventDefinition::new::<ExpenseDecided>(),
    EventDefinition::new::<ProfileUpdated>(),
    EventDefinition::new::<NotificationCreated>(),
];

/// Returns the definition of an event type, if it is in the catalogue.
#[must_use]
pub fn find_definition(event_type: &str) -> Option<&'static EventDefinition> {
    CATALOGUE
        .iter()
        .find(|definition| definition.event_type == event_type)
}

/// Checks the routing key of an event. On [`EVENT_EXCHANGE`] it must be that of the event type.
/// On other exchanges it is not checked: retries, replays and repairs are sent to a queue by its
/// name. Types that are not in the catalogue have no routing key to check.
///
/// # Errors
/// Returns [`EnvelopeError::WrongRoutingKey`] if it is the routing key of another type.
pub fn check_routing_key(
    exchange: &str,
    routing_key: &str,
    envelope: &Envelope,
) -> Result<(), EnvelopeError> {
    match find_definition(&envelope.event_type) {
        Some(definition) if exchange == EVENT_EXCHANGE && definition.routing_key != routing_key => {
            Err(EnvelopeError::WrongRoutingKey {
                event_type: envelope.event_type.clone(),
                expected: definition.routing_key,
                routing_key: routing_key.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn event_types_and_routing_keys_are_unique_and_versioned() {
        let definitions = CATALOGUE.iter();
        let types: BTreeSet<_> = definitions.clone().map(|event| event.event_type).collect();
        let keys: BTreeSet<_> = definitions.map(|event| event.routing_key).collect();
        assert_eq!((types.len(), keys.len()), (13, 13));
        for name in types.iter().chain(&keys) {
            assert!(name.ends_with(".v1"), "{name}");
        }
    }

    #[test]
    fn routing_key_of_another_type_is_rejected_on_the_event_exchange() {
        let event = |event_type: &str| Envelope {
            specversion: "1.0".into(),
            id: "evt_1".into(),
            event_type: event_type.into(),
            source: String::new(),
            subject: String::new(),
            time: String::new(),
            datacontenttype: String::new(),
            data: serde_json::Value::Null,
        };
        let decided = event("com.dundermifflin.expense.decided.v1");
        let check = |exchange: &str, key: &str, event: &Envelope| {
            check_routing_key(exchange, key, event).map_err(|error| error.reason())
        };
        assert_eq!(
            check(EVENT_EXCHANGE, "finance.expense.decided.v1", &decided),
            Ok(())
        );
        for key in ["order.created.v1", "expense.decided.v1", ""] {
            let result = check(EVENT_EXCHANGE, key, &decided);
            assert_eq!(result, Err("wrong-routing-key"), "{key}");
        }
        // Retries and replays are sent to the queue by its name.
        assert_eq!(check("", "wuphf.domain-events.q", &decided), Ok(()));
        let unknown = event("com.dundermifflin.order.recalled.v1");
        assert_eq!(check(EVENT_EXCHANGE, "order.created.v1", &unknown), Ok(()));
    }

    #[test]
    fn routing_key_of_expense_events_has_a_finance_prefix() {
        let definition = find_definition("com.dundermifflin.expense.decided.v1").unwrap();
        assert_eq!(definition.routing_key, "finance.expense.decided.v1");
    }
}
