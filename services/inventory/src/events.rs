//! Consumer of the events that an order was created, and that it was cancelled.
//!
//! The shipment is created and its stock reserved in one transaction, so that each `PENDING`
//! shipment has a reservation. The shipment of a cancelled order is withdrawn and its stock
//! released in one transaction as well.
//!
//! Whichever event of an order is processed first inserts its shipment, and the other one finds
//! it: two instances that process both at the same time wait for each other at the unique order
//! id. An order whose cancellation arrives first gets a `CANCELLED` shipment and is never reserved.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::ShipmentStatus;
use dm_contracts::events::{
    OrderCancelled, OrderCreated, StockFailed, StockReserved, stock as stock_status,
};
use dm_contracts::{DomainEvent, Envelope, time};
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::{Trace, Transaction, outbox};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::cancellation::{self, CancellationEffect};
use crate::domain::shipment::NewShipment;
use crate::domain::stock;
use crate::store;
use crate::store::reservations::ReservationStatus;

/// Handles the event `order.created`: creates the shipment and reserves its stock; and the event
/// `order.cancelled`: withdraws the shipment and releases its stock.
#[derive(Debug)]
pub(crate) struct OrderEventHandler {
    /// The delay before a stock result is published.
    pub(crate) result_delay: Duration,
}

/// The required fields of an order, which both events contain. The dates may have any type: they
/// have fallbacks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderData {
    order_id: String,
    client_id: String,
    created_by: String,
    items: Vec<OrderItem>,
    #[serde(default)]
    requested_ship_date: Value,
    #[serde(default)]
    created_at: Value,
}

/// A parsed event.
#[derive(Debug, PartialEq, Eq)]
enum OrderEvent {
    /// The order was created.
    Created(NewShipment),
    /// The order was cancelled.
    Cancelled(NewShipment),
}

/// Parses an event. Returns `None` if events of its type are not processed.
fn parse_event(event: &Envelope) -> Result<Option<OrderEvent>, HandlerError> {
    Ok(match event.event_type.as_str() {
        OrderCreated::TYPE => Some(OrderEvent::Created(parse_order(event)?)),
        OrderCancelled::TYPE => Some(OrderEvent::Cancelled(parse_order(event)?)),
        _ => None,
    })
}

/// Parses the order of an event.
fn parse_order(event: &Envelope) -> Result<NewShipment, HandlerError> {
    let data: OrderData = event.parse_data()?;
    for (field, text) in [
        ("orderId", &data.order_id),
        ("clientId", &data.client_id),
        ("createdBy", &data.created_by),
    ] {
        if text.trim().is_empty() {
            return Err(HandlerError::invalid_data(format!("{field} is blank")));
        }
    }
    if data.items.is_empty() {
        return Err(HandlerError::invalid_data("items is empty"));
    }
    // One invalid item rejects the order: it is never shipped in part.
    if let Some(index) = data
        .items
        .iter()
        .position(|item| item.sku.trim().is_empty() || item.quantity < 1)
    {
        return Err(HandlerError::invalid_data(format!(
            "items[{index}] has no SKU or no quantity"
        )));
    }
    let created_at: DateTime<Utc> = event.parse_instant_or_time(data.created_at.as_str());
    let requested: Option<NaiveDate> = data
        .requested_ship_date
        .as_str()
        .and_then(|text| text.parse().ok());
    Ok(NewShipment {
        requested_ship_date: requested.unwrap_or_else(|| created_at.date_naive()),
        order_id: data.order_id,
        client_id: data.client_id,
        items: data.items,
        created_by: data.created_by,
        created_at,
    })
}

impl EventHandler for OrderEventHandler {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        match parse_event(event)? {
            None => {}
            Some(OrderEvent::Created(order)) => {
                let status = ShipmentStatus::Pending;
                if store::shipments::insert(transaction, &order, status).await? {
                    self.reserve(transaction, order, trace).await?;
                }
            }
            Some(OrderEvent::Cancelled(order)) => cancel(transaction, &order).await?,
        }
        Ok(())
    }
}

/// Withdraws the shipment of a cancelled order, and releases its reservation. A shipment that has
/// left stays unchanged: the event of its dispatch sets the order to `SHIPPED`.
async fn cancel(transaction: &mut Transaction, order: &NewShipment) -> Result<(), HandlerError> {
    // The order has not arrived yet: with this shipment, it will not be reserved.
    if store::shipments::insert(transaction, order, ShipmentStatus::Cancelled).await? {
        return Ok(());
    }
    let status = store::shipments::lock_by_order(transaction, &order.order_id).await?;
    match cancellation::effect_on(status) {
        CancellationEffect::Unchanged => return Ok(()),
        CancellationEffect::Withdraw => {}
        CancellationEffect::ReleaseAndWithdraw => release(transaction, &order.order_id).await?,
    }
    let status = ShipmentStatus::Cancelled;
    store::shipments::set_status(transaction, &order.order_id, status).await?;
    Ok(())
}

/// Releases the open reservation of an order.
async fn release(transaction: &mut Transaction, order_id: &str) -> Result<(), HandlerError> {
    let at = time::now();
    let status = ReservationStatus::Released;
    let needs = store::reservations::close(transaction, order_id, status, at).await?;
    let levels = store::stock::lock(transaction, &needs).await?;
    let levels = stock::release(&needs, &levels)
        .map_err(|error| HandlerError::Transient(error.to_string()))?;
    store::stock::update_counts(transaction, &levels, at).await?;
    Ok(())
}

impl OrderEventHandler {
    /// Reserves all items of an order or none, and publishes the result.
    async fn reserve(
        &self,
        transaction: &mut Transaction,
        order: NewShipment,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        let needs = stock::required_quantities(&order.items);
        let levels = store::stock::lock(transaction, &needs).await?;
        let at = time::now();
        let order_id = order.order_id;
        match stock::reserve(&needs, &levels) {
            Ok(levels) => {
                store::stock::update_counts(transaction, &levels, at).await?;
                let status = ReservationStatus::Reserved;
                let reservation_id =
                    store::reservations::insert(transaction, &order_id, status, &needs, at).await?;
                let event = StockReserved {
                    order_id,
                    reservation_id,
                    status: stock_status::RESERVED.to_owned(),
                    at,
                };
                outbox::append_delayed(transaction, &event, trace, self.result_delay).await?;
            }
            Err(missing_items) => {
                let status = ReservationStatus::Failed;
                store::reservations::insert(transaction, &order_id, status, &needs, at).await?;
                store::shipments::set_status(transaction, &order_id, ShipmentStatus::Failed)
                    .await?;
                let event = StockFailed {
                    order_id,
                    status: stock_status::FAILED.to_owned(),
                    missing_items,
                    at,
                };
                outbox::append_delayed(transaction, &event, trace, self.result_delay).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod server_tests;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn envelope(data: Value) -> Envelope {
        Envelope {
            specversion: "1.0".into(),
            id: "evt_1".into(),
            event_type: OrderCreated::TYPE.into(),
            source: "/order-service".into(),
            subject: "order/ord_1".into(),
            time: "2026-02-03T23:30:00Z".into(),
            datacontenttype: "application/json".into(),
            data,
        }
    }

    fn valid_data() -> Value {
        json!({
            "orderId": "ord_1",
            "clientId": "client_501",
            "requestedShipDate": "2026-02-10",
            "items": [{"sku": "PPR-A4-WHT-500", "quantity": 10, "colour": "white"}],
            "createdBy": "jhalpert",
            "createdAt": "2026-02-03T10:00:00Z"
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut data = valid_data();
        data[field] = value;
        data
    }

    #[test]
    fn cancelled_order_is_parsed_like_a_created_one() {
        let created = envelope(valid_data());
        let mut data = with("cancelledBy", json!("jhalpert"));
        data["cancelledAt"] = json!("2026-02-04T10:00:00Z");
        let mut cancelled = envelope(data);
        cancelled.event_type = OrderCancelled::TYPE.into();
        let order = parse_order(&created).unwrap();
        assert_eq!(
            parse_event(&created).unwrap(),
            Some(OrderEvent::Created(order.clone()))
        );
        assert_eq!(
            parse_event(&cancelled).unwrap(),
            Some(OrderEvent::Cancelled(order))
        );
    }

    #[test]
    fn order_is_parsed_as_a_shipment() {
        let shipment = parse_order(&envelope(valid_data())).unwrap();
        assert_eq!(shipment.requested_ship_date.to_string(), "2026-02-10");
        assert_eq!(time::format(shipment.created_at), "2026-02-03T10:00:00Z");
        assert_eq!(shipment.items[0].quantity, 10);
    }

    #[test]
    fn invalid_dates_fall_back_to_created_at_and_envelope_time() {
        for date in [Value::Null, json!("soon"), json!(7), json!("2026-02-31")] {
            let data = with("requestedShipDate", date);
            let shipment = parse_order(&envelope(data)).unwrap();
            assert_eq!(shipment.requested_ship_date.to_string(), "2026-02-03");
        }
        let mut data = with("createdAt", json!("2026-02-04T01:00:00+03:00"));
        data["requestedShipDate"].take();
        let shipment = parse_order(&envelope(data)).unwrap();
        assert_eq!(
            shipment.requested_ship_date.to_string(),
            "2026-02-03",
            "in UTC"
        );
        let shipment = parse_order(&envelope(with("createdAt", json!("then")))).unwrap();
        assert_eq!(
            time::format(shipment.created_at),
            "2026-02-03T23:30:00Z",
            "time of the envelope"
        );
    }

    #[test]
    fn missing_required_data_is_a_permanent_error() {
        for (field, value) in [
            ("orderId", Value::Null),
            ("orderId", json!(" ")),
            ("clientId", json!("")),
            ("createdBy", json!(7)),
            ("items", Value::Null),
            ("items", json!([])),
            ("items", json!([{"sku": "A"}])),
            ("items", json!([{"sku": " ", "quantity": 1}])),
            ("items", json!([{"sku": "A", "quantity": 0}])),
            (
                "items",
                json!([{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": -1}]),
            ),
        ] {
            let error = parse_event(&envelope(with(field, value.clone()))).unwrap_err();
            assert!(
                matches!(
                    error,
                    HandlerError::Permanent {
                        reason: "invalid-data",
                        ..
                    }
                ),
                "{field} {value}: {error:?}"
            );
        }
    }

    #[test]
    fn event_of_another_type_is_ignored() {
        let mut event = envelope(json!({}));
        event.event_type = "com.dundermifflin.order.archived.v1".into();
        assert_eq!(parse_event(&event).unwrap(), None);
    }
}
