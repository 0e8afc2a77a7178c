//! What order tells: an order was placed.
//!
//! Its shipment is made and its stock reserved in one transaction, so that whatever
//! is `PENDING` is reserved, whenever it is sent off.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::ShipmentStatus;
use dm_contracts::events::{OrderCreated, StockFailed, StockReserved, stock as outcome};
use dm_contracts::{DomainEvent, Envelope, time};
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::{Trace, Transaction, outbox};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::shipment::NewShipment;
use crate::domain::stock;
use crate::store;
use crate::store::reservations::ReservationStatus;

/// Takes orders in.
#[derive(Debug)]
pub(crate) struct OrderEventHandler {
    /// How long a stock result is held back.
    pub(crate) result_delay: Duration,
}

/// What is needed of an order. The dates may be of any shape: there is something to
/// go on without them.
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

/// Reads an event; `None` where its type is none of ours.
fn parse_event(event: &Envelope) -> Result<Option<NewShipment>, HandlerError> {
    if event.event_type != OrderCreated::TYPE {
        return Ok(None);
    }
    let told: OrderCreatedData = event.parse_data()?;
    for (field, text) in [
        ("orderId", &told.order_id),
        ("clientId", &told.client_id),
        ("createdBy", &told.created_by),
    ] {
        if text.trim().is_empty() {
            return Err(HandlerError::invalid_data(format!("{field} is blank")));
        }
    }
    if told.items.is_empty() {
        return Err(HandlerError::invalid_data("items is empty"));
    }
    // Half an order is not what the client wants.
    if let Some(at) = told
        .items
        .iter()
        .position(|item| item.sku.trim().is_empty() || item.quantity < 1)
    {
        return Err(HandlerError::invalid_data(format!(
            "items[{at}] has no SKU or no quantity"
        )));
    }
    let created_at: DateTime<Utc> = event.parse_instant_or_time(told.created_at.as_str());
    let requested: Option<NaiveDate> = told
        .requested_ship_date
        .as_str()
        .and_then(|text| text.parse().ok());
    Ok(Some(NewShipment {
        requested_ship_date: requested.unwrap_or_else(|| created_at.date_naive()),
        order_id: told.order_id,
        client_id: told.client_id,
        items: told.items,
        created_by: told.created_by,
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
    /// Reserves all that an order needs or nothing, and tells which.
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
                    status: outcome::RESERVED.to_owned(),
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
                    status: outcome::FAILED.to_owned(),
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

    fn good() -> Value {
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
        let mut data = good();
        data[field] = value;
        data
    }

    #[test]
    fn an_order_becomes_a_shipment() {
        let shipment = parse_event(&envelope(good())).unwrap().unwrap();
        assert_eq!(shipment.requested_ship_date.to_string(), "2026-02-10");
        assert_eq!(time::format(shipment.created_at), "2026-02-03T10:00:00Z");
        assert_eq!(shipment.items[0].quantity, 10);
    }

    #[test]
    fn dates_fall_back() {
        for odd in [Value::Null, json!("soon"), json!(7), json!("2026-02-31")] {
            let data = with("requestedShipDate", odd);
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
            "the envelope's"
        );
    }

    #[test]
    fn what_lacks_mandatory_data_is_a_dead_letter() {
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
    fn another_type_is_left_alone() {
        let mut event = envelope(json!({}));
        event.event_type = "com.dundermifflin.order.archived.v1".into();
        assert_eq!(parse_event(&event).unwrap(), None);
    }
}
