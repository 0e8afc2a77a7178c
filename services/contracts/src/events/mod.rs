//! Every event of the catalogue (`docs/contracts/event_catalog_v1.md`).
//!
//! These are what services publish. A consumer reads with a type of its own that
//! asks for no more than it needs.

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
pub use inventory::{MissingItem, ShipmentDispatched, StockFailed, StockReserved, stock};
pub use notification::NotificationCreated;
pub use order::{OrderCreated, OrderStatusChanged};
pub use profile::ProfileUpdated;
pub use sales::LeadConverted;

/// A kind of event, without an event.
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

    /// Whether the data of an event of this kind is whole.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] where a field is missing or of another type.
    pub fn validate(&self, envelope: &Envelope) -> Result<(), EnvelopeError> {
        (self.validate)(envelope)
    }
}

/// The catalogue.
pub(crate) const CATALOGUE: [EventDefinition; 10] = [
    EventDefinition::new::<OrderCreated>(),
    EventDefinition::new::<OrderStatusChanged>(),
    EventDefinition::new::<StockReserved>(),
    EventDefinition::new::<StockFailed>(),
    EventDefinition::new::<ShipmentDispatched>(),
    EventDefinition::new::<LeadConverted>(),
    EventDefinition::new::<ExpenseSubmitted>(),
    EventDefinition::new::<ExpenseDecided>(),
    EventDefinition::new::<ProfileUpdated>(),
    EventDefinition::new::<NotificationCreated>(),
];

/// The kind of that type, if it is in the catalogue.
#[must_use]
pub fn find_definition(event_type: &str) -> Option<&'static EventDefinition> {
    CATALOGUE.iter().find(|kind| kind.event_type == event_type)
}

/// Checks how an event came: on [`EVENTS`] its routing key is that of its type. Who publishes
/// elsewhere has no key of an event to give: retries, replays and repairs go straight to a
/// queue, by its name. A type that is not in the catalogue has no key that it could lack.
///
/// # Errors
/// [`EnvelopeError::RoutingKey`].
pub fn check_routing_key(
    exchange: &str,
    routing_key: &str,
    envelope: &Envelope,
) -> Result<(), EnvelopeError> {
    match find_definition(&envelope.event_type) {
        Some(kind) if exchange == EVENT_EXCHANGE && kind.routing_key != routing_key => {
            Err(EnvelopeError::WrongRoutingKey {
                event_type: envelope.event_type.clone(),
                expected: kind.routing_key,
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
    fn types_and_keys_are_unique_and_versioned() {
        let types: BTreeSet<_> = CATALOGUE.iter().map(|kind| kind.event_type).collect();
        let keys: BTreeSet<_> = CATALOGUE.iter().map(|kind| kind.routing_key).collect();
        assert_eq!((types.len(), keys.len()), (10, 10));
        for name in types.iter().chain(&keys) {
            assert!(name.ends_with(".v1"), "{name}");
        }
    }

    #[test]
    fn an_event_comes_by_the_key_of_its_type() {
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
            let found = check(EVENT_EXCHANGE, key, &decided);
            assert_eq!(found, Err("wrong-routing-key"), "{key}");
        }
        // Back from a retry, or replayed: straight to the queue.
        assert_eq!(check("", "wuphf.domain-events.q", &decided), Ok(()));
        let unknown = event("com.dundermifflin.order.recalled.v1");
        assert_eq!(check(EVENT_EXCHANGE, "order.created.v1", &unknown), Ok(()));
    }

    #[test]
    fn finance_has_a_key_that_its_type_lacks() {
        let kind = find_definition("com.dundermifflin.expense.decided.v1").unwrap();
        assert_eq!(kind.routing_key, "finance.expense.decided.v1");
    }
}
