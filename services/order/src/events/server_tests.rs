//! Tests of the effects of inventory events on the tables and the outbox.

use chrono::TimeDelta;
use dm_contracts::api::order::{OrderDetail, OrderTimeline};
use dm_contracts::events::{OrderCancelled, OrderCreated, stock};
use dm_test_kit::{TestService, USER, event_types};
use serde_json::json;

use super::*;

/// The id of the order that [`start`] places.
const ORDER: &str = "ord_9001";

/// Returns a service in which an order was placed, and the time of the order.
async fn start() -> (TestService, DateTime<Utc>) {
    let service = TestService::start(&crate::SCHEMA, crate::routes::router).await;
    let order = json!({
        "clientId": "cli_1",
        "requestedShipDate": "2026-12-24",
        "items": [{"sku": "PAPER", "quantity": 4}],
    });
    service.post("/internal/orders", &order).await.unwrap();
    let created_at = find(&service).await.created_at;
    (service, created_at)
}

fn reserved(at: DateTime<Utc>) -> Envelope {
    Envelope::new(&StockReserved {
        order_id: ORDER.into(),
        reservation_id: "res_1".into(),
        status: stock::RESERVED.into(),
        at,
    })
}

fn failed(at: DateTime<Utc>) -> Envelope {
    Envelope::new(&StockFailed {
        order_id: ORDER.into(),
        status: stock::FAILED.into(),
        missing_items: vec![MissingItem {
            sku: "PAPER".into(),
            missing_quantity: 3,
        }],
        at,
    })
}

fn picking(at: DateTime<Utc>) -> Envelope {
    Envelope::new(&PickingStarted {
        order_id: ORDER.into(),
        shipment_id: "ship_9001".into(),
        scanned_by: "dphilbin".into(),
        at,
    })
}

fn dispatched(at: DateTime<Utc>) -> Envelope {
    Envelope::new(&ShipmentDispatched {
        shipment_id: "ship_9001".into(),
        order_id: ORDER.into(),
        order_created_by: USER.into(),
        dispatched_by: "dphilbin".into(),
        truck_id: "truck_scr_03".into(),
        dispatched_at: at,
    })
}

async fn process(service: &TestService, event: &Envelope) {
    let processed = service.process(&InventoryEventHandler, event).await;
    processed.unwrap();
}

async fn cancel(service: &TestService) {
    let path = format!("/internal/orders/{ORDER}/cancel");
    service.post(&path, &json!({})).await.unwrap();
}

async fn find(service: &TestService) -> OrderDetail {
    let order = service.get(&format!("/internal/orders/{ORDER}")).await;
    serde_json::from_value(order.unwrap()).unwrap()
}

/// Returns the statuses of the timeline, with their hours after a time.
async fn timeline(service: &TestService, start: DateTime<Utc>) -> Vec<(OrderStatus, i64)> {
    let path = format!("/internal/orders/{ORDER}/timeline");
    let timeline = service.get(&path).await.unwrap();
    let timeline: OrderTimeline = serde_json::from_value(timeline).unwrap();
    let hours = |at: DateTime<Utc>| (at - start).num_hours();
    let entries = timeline.events.iter();
    entries
        .map(|entry| (entry.status, hours(entry.at)))
        .collect()
}

/// Returns the status changes in the outbox, with their reasons.
async fn changes(service: &TestService) -> Vec<(String, Option<String>)> {
    let outbox = service.outbox().await.into_iter();
    let changes = outbox.filter(|event| event.event_type == OrderStatusChanged::TYPE);
    let changes = changes.map(|event| event.parse_data::<OrderStatusChanged>().unwrap());
    changes
        .map(|change| (change.status, change.reason))
        .collect()
}

fn change(status: OrderStatus) -> (String, Option<String>) {
    (status.as_str().to_owned(), None)
}

#[tokio::test]
async fn each_fact_sets_the_status_and_is_published_with_its_time() {
    let (service, start) = start().await;
    let at = |hours| start + TimeDelta::hours(hours);
    for (event, status) in [
        (reserved(at(1)), OrderStatus::Reserved),
        (picking(at(2)), OrderStatus::Picking),
        (dispatched(at(3)), OrderStatus::Shipped),
    ] {
        process(&service, &event).await;
        assert_eq!(find(&service).await.status, status);
        let outbox = service.outbox().await;
        let last = outbox.last().unwrap();
        assert_eq!(last.subject, "order/ord_9001");
        let changed: OrderStatusChanged = last.parse_data().unwrap();
        assert_eq!(changed.order_id, ORDER);
        assert_eq!(changed.status, status.as_str());
        assert_eq!(changed.at, event.time_or_now());
    }
    let shipment = find(&service).await.shipment_id;
    assert_eq!(shipment.as_deref(), Some("ship_9001"));
    assert_eq!(changes(&service).await.len(), 3);
    assert_eq!(
        timeline(&service, start).await,
        [
            (OrderStatus::Created, 0),
            (OrderStatus::Reserved, 1),
            (OrderStatus::Picking, 2),
            (OrderStatus::Shipped, 3),
        ]
    );
}

#[tokio::test]
async fn failed_order_is_published_with_its_reason() {
    let (service, start) = start().await;
    process(&service, &failed(start)).await;
    let status = OrderStatus::FailedInsufficientStock;
    assert_eq!(find(&service).await.status, status);
    let reason = "insufficient stock: 3 of PAPER missing".to_owned();
    assert_eq!(
        changes(&service).await,
        [(status.as_str().to_owned(), Some(reason))]
    );
}

#[tokio::test]
async fn repeated_fact_has_one_effect() {
    let (service, start) = start().await;
    let at = |hours| start + TimeDelta::hours(hours);
    // Also with another event id and another time.
    let first = dispatched(at(1));
    for event in [&first, &first, &dispatched(at(2))] {
        process(&service, event).await;
    }
    assert_eq!(changes(&service).await, [change(OrderStatus::Shipped)]);
    assert_eq!(
        timeline(&service, start).await,
        [(OrderStatus::Created, 0), (OrderStatus::Shipped, 1)]
    );
}

#[tokio::test]
async fn overtaken_fact_enters_the_timeline_at_its_time_and_changes_no_status() {
    let (service, start) = start().await;
    let at = |hours| start + TimeDelta::hours(hours);
    for event in [dispatched(at(3)), reserved(at(1)), picking(at(2))] {
        process(&service, &event).await;
        assert_eq!(find(&service).await.status, OrderStatus::Shipped);
    }
    assert_eq!(changes(&service).await, [change(OrderStatus::Shipped)]);
    assert_eq!(
        timeline(&service, start).await,
        [
            (OrderStatus::Created, 0),
            (OrderStatus::Reserved, 1),
            (OrderStatus::Picking, 2),
            (OrderStatus::Shipped, 3),
        ]
    );
}

#[tokio::test]
async fn cancelled_order_is_reinstated_by_its_dispatch_only() {
    let (service, start) = start().await;
    let at = |hours| start + TimeDelta::hours(hours);
    cancel(&service).await;
    for event in [reserved(at(1)), picking(at(2))] {
        process(&service, &event).await;
        assert_eq!(find(&service).await.status, OrderStatus::Cancelled);
    }
    assert_eq!(changes(&service).await, [change(OrderStatus::Cancelled)]);

    for _ in 0..2 {
        process(&service, &dispatched(at(3))).await;
    }
    let order = find(&service).await;
    assert_eq!(order.status, OrderStatus::Shipped);
    assert_eq!(order.shipment_id.as_deref(), Some("ship_9001"));
    assert_eq!(order.cancelled_by.as_deref(), Some(USER));
    let outbox = service.outbox().await;
    assert_eq!(
        event_types(&outbox),
        [
            OrderCreated::TYPE,
            OrderCancelled::TYPE,
            OrderStatusChanged::TYPE,
            OrderReinstated::TYPE,
            OrderStatusChanged::TYPE,
        ]
    );
    let reinstated: OrderReinstated = outbox[3].parse_data().unwrap();
    assert_eq!(reinstated.order_id, ORDER);
    assert_eq!(reinstated.shipment_id, "ship_9001");
    assert_eq!(reinstated.created_by, USER);
    assert_eq!(timeline(&service, start).await.len(), 5);
}

#[tokio::test]
async fn concurrent_facts_are_processed_one_after_the_other() {
    let (service, start) = start().await;
    let at = |hours| start + TimeDelta::hours(hours);
    let events = [reserved(at(1)), picking(at(2)), dispatched(at(3))];
    let again = dispatched(at(4));
    tokio::join!(
        process(&service, &events[0]),
        process(&service, &events[1]),
        process(&service, &events[2]),
        process(&service, &again),
    );
    assert_eq!(find(&service).await.status, OrderStatus::Shipped);
    let changes = changes(&service).await;
    let shipped = changes.iter().filter(|(status, _)| status == "SHIPPED");
    assert_eq!(shipped.count(), 1, "{changes:?}");
    assert_eq!(changes.last(), Some(&change(OrderStatus::Shipped)));
    assert_eq!(timeline(&service, start).await.len(), 4);
}

#[tokio::test]
async fn event_of_an_unknown_order_has_no_effect() {
    let (service, start) = start().await;
    let mut unknown = reserved(start);
    unknown.data["orderId"] = "ord_1".into();
    let outcome = service.process(&InventoryEventHandler, &unknown).await;
    assert!(
        matches!(
            outcome,
            Err(HandlerError::Permanent {
                reason: "unknown-order",
                ..
            })
        ),
        "{outcome:?}"
    );
    let mut other_type = reserved(start);
    other_type.event_type = OrderCreated::TYPE.into();
    process(&service, &other_type).await;
    assert_eq!(find(&service).await.status, OrderStatus::Created);
    assert_eq!(event_types(&service.outbox().await), [OrderCreated::TYPE]);
    assert_eq!(timeline(&service, start).await, [(OrderStatus::Created, 0)]);
}
