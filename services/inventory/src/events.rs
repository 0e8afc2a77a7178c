//! Consumer of the event that an order was created.
//!
//! The shipment is created and its stock reserved in one transaction, so that each `PENDING`
//! shipment has a reservation.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::ShipmentStatus;
use dm_contracts::events::{OrderCreated, StockFailed, StockReserved, stock as stock_status};
use dm_contracts::{DomainEvent, Envelope, time};
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::{Trace, Transaction, outbox};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::shipment::NewShipment;
use crate::domain::stock;
use crate::store;
use crate::store::reservations::ReservationStatus;

/// Handles the event `order.created`: creates the shipment and reserves its stock.
#[derive(Debug)]
pub(crate) struct OrderEventHandler {
    /// The delay before a stock result is published.
    pub(crate) result_delay: Duration,
}

/// The required fields of an order. The dates may have any type: they have fallbacks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderCreatedData {
    order_id: String,
    client_id: String,
    created_by: String,
    items: Vec<OrderItem>,
    #[serde(default)]
    requested_ship_date: Value,
    #[serde(default)]
    created_at: Value,
}

/// Parses an event. Returns `None` if events of its type are not processed.
fn parse_event(event: &Envelope) -> Result<Option<NewShipment>, HandlerError> {
    if event.event_type != OrderCreated::TYPE {
        return Ok(None);
    }
    let data: OrderCreatedData = event.parse_data()?;
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
    Ok(Some(NewShipment {
        requested_ship_date: requested.unwrap_or_else(|| created_at.date_naive()),
        order_id: data.order_id,
        client_id: data.client_id,
        items: data.items,
        created_by: data.created_by,
        created_at,
    }))
}

impl EventHandler for OrderEventHandler {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> Result<(), HandlerError> {
        let Some(order) = parse_event(event)? else {
            return Ok(());
        };
        if store::shipments::insert(transaction, &order).await? {
            self.reserve(transaction, order, trace).await?;
        }
        Ok(())
    }
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
                store::shipments::set_status(transaction, &order_id, ShipmentStatus::Failed, at)
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
    fn order_is_parsed_as_a_shipment() {
        let shipment = parse_event(&envelope(valid_data())).unwrap().unwrap();
        assert_eq!(shipment.requested_ship_date.to_string(), "2026-02-10");
        assert_eq!(time::format(shipment.created_at), "2026-02-03T10:00:00Z");
        assert_eq!(shipment.items[0].quantity, 10);
    }

    #[test]
    fn invalid_dates_fall_back_to_created_at_and_envelope_time() {
        for date in [Value::Null, json!("soon"), json!(7), json!("2026-02-31")] {
            let data = with("requestedShipDate", date);
            let shipment = parse_event(&envelope(data)).unwrap().unwrap();
            assert_eq!(shipment.requested_ship_date.to_string(), "2026-02-03");
        }
        let mut data = with("createdAt", json!("2026-02-04T01:00:00+03:00"));
        data["requestedShipDate"].take();
        let shipment = parse_event(&envelope(data)).unwrap().unwrap();
        assert_eq!(
            shipment.requested_ship_date.to_string(),
            "2026-02-03",
            "in UTC"
        );
        let shipment = parse_event(&envelope(with("createdAt", json!("then"))))
            .unwrap()
            .unwrap();
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
