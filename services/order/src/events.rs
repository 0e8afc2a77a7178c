//! Consumer of the inventory events about orders.
//!
//! An order is committed before its first event is published, so that a retry cannot help an
//! event of an unknown order: it is dead-lettered at once, and can be replayed after the order
//! is restored from a backup.

use chrono::{DateTime, Utc};
use dm_contracts::api::order::OrderStatus;
use dm_contracts::events::{
    MissingItem, OrderReinstated, OrderStatusChanged, PickingStarted, ShipmentDispatched,
    StockFailed, StockReserved,
};
use dm_contracts::{DomainEvent, Envelope, time};
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::{Trace, Transaction, outbox};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::shortage;
use crate::domain::transition::{OrderFact, Transition, transition};
use crate::store::{cancellation, orders, timeline};

/// The source of the timeline entries.
const TIMELINE_SOURCE: &str = "inventory-service";

/// Handles inventory events: updates the timeline and the status of orders.
#[derive(Debug)]
pub(crate) struct InventoryEventHandler;

/// The required fields of all inventory events. All fields except the ids may have any type:
/// they have fallbacks.
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

/// A parsed event.
#[derive(Debug, PartialEq, Eq)]
struct OrderUpdate {
    order_id: String,
    fact: OrderFact,
    at: DateTime<Utc>,
    shipment_id: Option<String>,
    reason: Option<String>,
}

/// Parses an event. Returns `None` if events of its type are not processed.
fn parse_event(event: &Envelope) -> Result<Option<OrderUpdate>, HandlerError> {
    let fact = match event.event_type.as_str() {
        StockReserved::TYPE => OrderFact::Reserved,
        StockFailed::TYPE => OrderFact::StockFailed,
        PickingStarted::TYPE => OrderFact::PickingStarted,
        ShipmentDispatched::TYPE => OrderFact::Dispatched,
        _ => return Ok(None),
    };
    let data: InventoryEventData = event.parse_data()?;
    if data.order_id.trim().is_empty() {
        return Err(HandlerError::invalid_data("orderId is blank"));
    }
    let mut update = OrderUpdate {
        order_id: data.order_id,
        fact,
        at: event.parse_instant_or_time(data.at.as_str()),
        shipment_id: None,
        reason: None,
    };
    match fact {
        OrderFact::Reserved | OrderFact::PickingStarted => {}
        OrderFact::StockFailed => {
            let missing: Vec<MissingItem> =
                serde_json::from_value(data.missing_items).unwrap_or_default();
            update.reason = Some(shortage::reason(&missing));
        }
        OrderFact::Dispatched => {
            update.at = event.parse_instant_or_time(data.dispatched_at.as_str());
            update.shipment_id = data.shipment_id.filter(|id| !id.trim().is_empty());
            if update.shipment_id.is_none() {
                return Err(HandlerError::invalid_data("shipmentId is missing or blank"));
            }
        }
    }
    Ok(Some(update))
}

impl EventHandler for InventoryEventHandler {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        let Some(update) = parse_event(event)? else {
            return Ok(());
        };
        let Some(status) = orders::lock(transaction, &update.order_id).await? else {
            return Err(HandlerError::Permanent {
                reason: "unknown-order",
                message: format!("order {} does not exist", update.order_id),
            });
        };
        let entry_status = update.fact.status();
        let is_duplicate =
            timeline::has_status(transaction, &update.order_id, entry_status).await?;
        let change = transition(status, is_duplicate, update.fact);
        if change == Transition::Duplicate {
            return Ok(());
        }
        timeline::append(
            transaction,
            &update.order_id,
            entry_status,
            update.at,
            TIMELINE_SOURCE,
        )
        .await?;
        let next = match change {
            Transition::Duplicate | Transition::TimelineOnly => return Ok(()),
            Transition::StatusChanged(next) => next,
            Transition::Reinstated => {
                publish_reinstatement(transaction, &update, trace).await?;
                OrderStatus::Shipped
            }
        };
        let shipment = update.shipment_id.as_deref();
        orders::set_status(transaction, &update.order_id, next, shipment).await?;
        let changed = OrderStatusChanged {
            order_id: update.order_id,
            status: next.as_str().to_owned(),
            reason: update.reason,
            at: update.at,
        };
        outbox::append(transaction, &changed, trace).await?;
        Ok(())
    }
}

/// Publishes that a cancelled order is shipped. The user who placed it was notified of the
/// cancellation.
async fn publish_reinstatement(
    transaction: &mut Transaction,
    update: &OrderUpdate,
    trace: &Trace,
) -> Result<(), HandlerError> {
    let order = cancellation::lock(transaction, &update.order_id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    let event = OrderReinstated {
        order_id: update.order_id.clone(),
        shipment_id: update.shipment_id.clone().unwrap_or_default(),
        created_by: order.created_by,
        at: time::now(),
    };
    outbox::append(transaction, &event, trace).await?;
    Ok(())
}

#[cfg(test)]
mod server_tests;

#[cfg(test)]
mod tests {
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
    fn parse_event_reads_the_time_and_fields_of_each_type() {
        let reserved = json!({"orderId": "ord_1", "at": "2026-02-03T09:00:00Z"});
        let update = parse_event(&envelope(StockReserved::TYPE, reserved))
            .unwrap()
            .unwrap();
        assert_eq!(
            (update.fact, update.at),
            (OrderFact::Reserved, at("2026-02-03T09:00:00Z"))
        );
        let picking = json!({"orderId": "ord_1", "shipmentId": "ship_1",
            "scannedBy": "dphilbin", "at": "2026-02-03T07:30:00Z"});
        let update = parse_event(&envelope(PickingStarted::TYPE, picking))
            .unwrap()
            .unwrap();
        assert_eq!(
            (update.fact, update.at),
            (OrderFact::PickingStarted, at("2026-02-03T07:30:00Z"))
        );
        assert_eq!(update.shipment_id, None, "the order is not shipped yet");
        let dispatched = json!({"orderId": "ord_1", "shipmentId": "ship_1",
            "dispatchedAt": "2026-02-03T08:00:00Z", "at": "2026-01-01T00:00:00Z"});
        let update = parse_event(&envelope(ShipmentDispatched::TYPE, dispatched))
            .unwrap()
            .unwrap();
        assert_eq!(update.at, at("2026-02-03T08:00:00Z"));
        assert_eq!(update.shipment_id.as_deref(), Some("ship_1"));
        let failed = json!({"orderId": "ord_1", "at": "2026-02-03T09:00:00Z",
            "missingItems": [{"sku": "PPR", "missingQuantity": 4, "colour": "white"}]});
        let update = parse_event(&envelope(StockFailed::TYPE, failed))
            .unwrap()
            .unwrap();
        assert_eq!(
            update.reason.as_deref(),
            Some("insufficient stock: 4 of PPR missing")
        );
    }

    #[test]
    fn invalid_time_falls_back_to_the_time_of_the_envelope() {
        for time in [json!("yesterday"), json!(7), Value::Null] {
            let data = json!({"orderId": "ord_1", "at": time});
            let update = parse_event(&envelope(StockReserved::TYPE, data))
                .unwrap()
                .unwrap();
            assert_eq!(update.at, at("2026-02-03T10:00:00Z"));
        }
    }

    #[test]
    fn missing_id_is_a_permanent_error_and_unknown_type_is_ignored() {
        for (event_type, data) in [
            (StockReserved::TYPE, json!({})),
            (StockReserved::TYPE, json!({"orderId": 7})),
            (StockFailed::TYPE, json!({"orderId": " "})),
            (ShipmentDispatched::TYPE, json!({"orderId": "ord_1"})),
            (ShipmentDispatched::TYPE, json!("text")),
        ] {
            let error = parse_event(&envelope(event_type, data)).unwrap_err();
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
