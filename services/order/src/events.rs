//! What inventory tells of orders.
//!
//! An order commits before anybody can hear of it, so that an event of an unknown
//! one is no matter of patience: it is a dead letter at once, to be replayed should
//! the order come back from a backup.

use chrono::{DateTime, Utc};
use dm_contracts::events::{
    MissingItem, OrderStatusChanged, ShipmentDispatched, StockFailed, StockReserved,
};
use dm_contracts::{DomainEvent, Envelope};
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::{Trace, Transaction, outbox};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::shortage;
use crate::domain::transition::{OrderFact, Transition, transition};
use crate::store::{orders, timeline};

/// Who says so, in the timeline.
const TIMELINE_SOURCE: &str = "inventory-service";

/// Moves orders on.
#[derive(Debug)]
pub(crate) struct InventoryEventHandler;

/// What is needed of any of the events. Anything but the ids may be of any shape:
/// there is something to go on without it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InventoryEventData {
    order_id: String,
    #[serde(default)]
    shipment_id: Option<String>,
    #[serde(default)]
    at: Value,
    #[serde(default)]
    dispatched_at: Value,
    #[serde(default)]
    missing_items: Value,
}

/// An event, understood.
#[derive(Debug, PartialEq, Eq)]
struct OrderUpdate {
    order_id: String,
    fact: OrderFact,
    at: DateTime<Utc>,
    shipment_id: Option<String>,
    reason: Option<String>,
}

/// Reads an event; `None` where its type is none of ours.
fn parse_event(event: &Envelope) -> Result<Option<OrderUpdate>, HandlerError> {
    let fact = match event.event_type.as_str() {
        StockReserved::TYPE => OrderFact::Reserved,
        StockFailed::TYPE => OrderFact::StockFailed,
        ShipmentDispatched::TYPE => OrderFact::Dispatched,
        _ => return Ok(None),
    };
    let told: InventoryEventData = event.parse_data()?;
    if told.order_id.trim().is_empty() {
        return Err(HandlerError::invalid_data("orderId is blank"));
    }
    let mut news = OrderUpdate {
        order_id: told.order_id,
        fact,
        at: event.parse_instant_or_time(told.at.as_str()),
        shipment_id: None,
        reason: None,
    };
    match fact {
        OrderFact::Reserved => {}
        OrderFact::StockFailed => {
            let missing: Vec<MissingItem> =
                serde_json::from_value(told.missing_items).unwrap_or_default();
            news.reason = Some(shortage::reason(&missing));
        }
        OrderFact::Dispatched => {
            news.at = event.parse_instant_or_time(told.dispatched_at.as_str());
            news.shipment_id = told.shipment_id.filter(|id| !id.trim().is_empty());
            if news.shipment_id.is_none() {
                return Err(HandlerError::invalid_data("shipmentId is missing or blank"));
            }
        }
    }
    Ok(Some(news))
}

impl EventHandler for InventoryEventHandler {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        let Some(news) = parse_event(event)? else {
            return Ok(());
        };
        let Some(status) = orders::lock(transaction, &news.order_id).await? else {
            return Err(HandlerError::Permanent {
                reason: "unknown-order",
                message: format!("there is no order {}", news.order_id),
            });
        };
        let shown = news.fact.status();
        let known = timeline::has_status(transaction, &news.order_id, shown).await?;
        let step = transition(status, known, news.fact);
        if step == Transition::Duplicate {
            return Ok(());
        }
        timeline::append(transaction, &news.order_id, shown, news.at, TIMELINE_SOURCE).await?;
        if let Transition::StatusChanged(next) = step {
            let shipment = news.shipment_id.as_deref();
            orders::set_status(transaction, &news.order_id, next, shipment).await?;
            let changed = OrderStatusChanged {
                order_id: news.order_id,
                status: next.as_str().to_owned(),
                reason: news.reason,
                at: news.at,
            };
            outbox::append(transaction, &changed, trace).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;
    use serde_json::json;

    use super::*;

    fn envelope(event_type: &str, data: Value) -> Envelope {
        Envelope {
            specversion: "1.0".into(),
            id: "evt_1".into(),
            event_type: event_type.into(),
            source: "/inventory-service".into(),
            subject: String::new(),
            time: "2026-02-03T10:00:00Z".into(),
            datacontenttype: "application/json".into(),
            data,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        time::parse(text).unwrap()
    }

    #[test]
    fn each_fact_is_read_with_its_own_time() {
        let reserved = json!({"orderId": "ord_1", "at": "2026-02-03T09:00:00Z"});
        let news = parse_event(&envelope(StockReserved::TYPE, reserved))
            .unwrap()
            .unwrap();
        assert_eq!(
            (news.fact, news.at),
            (OrderFact::Reserved, at("2026-02-03T09:00:00Z"))
        );
        let dispatched = json!({"orderId": "ord_1", "shipmentId": "ship_1",
            "dispatchedAt": "2026-02-03T08:00:00Z", "at": "2026-01-01T00:00:00Z"});
        let news = parse_event(&envelope(ShipmentDispatched::TYPE, dispatched))
            .unwrap()
            .unwrap();
        assert_eq!(news.at, at("2026-02-03T08:00:00Z"));
        assert_eq!(news.shipment_id.as_deref(), Some("ship_1"));
        let failed = json!({"orderId": "ord_1", "at": "2026-02-03T09:00:00Z",
            "missingItems": [{"sku": "PPR", "missingQuantity": 4, "colour": "white"}]});
        let news = parse_event(&envelope(StockFailed::TYPE, failed))
            .unwrap()
            .unwrap();
        assert_eq!(
            news.reason.as_deref(),
            Some("insufficient stock: 4 of PPR missing")
        );
    }

    #[test]
    fn a_time_that_cannot_be_read_is_the_envelopes() {
        for odd in [json!("yesterday"), json!(7), Value::Null] {
            let data = json!({"orderId": "ord_1", "at": odd});
            let news = parse_event(&envelope(StockReserved::TYPE, data))
                .unwrap()
                .unwrap();
            assert_eq!(news.at, at("2026-02-03T10:00:00Z"));
        }
    }

    #[test]
    fn what_lacks_an_id_is_a_dead_letter_and_what_is_unknown_is_nothing() {
        for (kind, data) in [
            (StockReserved::TYPE, json!({})),
            (StockReserved::TYPE, json!({"orderId": 7})),
            (StockFailed::TYPE, json!({"orderId": " "})),
            (ShipmentDispatched::TYPE, json!({"orderId": "ord_1"})),
            (ShipmentDispatched::TYPE, json!("text")),
        ] {
            let error = parse_event(&envelope(kind, data)).unwrap_err();
            assert!(
                matches!(
                    error,
                    HandlerError::Permanent {
                        reason: "invalid-data",
                        ..
                    }
                ),
                "{error:?}"
            );
        }
        let other = envelope("com.dundermifflin.inventory.stock.counted.v1", json!({}));
        assert_eq!(parse_event(&other).unwrap(), None);
    }
}
