//! Tests of the effects of order events on the tables and the outbox.

use dm_contracts::api::stock::StockLevel;
use dm_contracts::events::ShipmentDispatched;
use dm_test_kit::{TestService, USER, event_types};
use http::Method;
use serde_json::json;

use super::*;
use crate::domain::product::CatalogueProduct;

const PAPER: &str = "PAPER";
const TONER: &str = "TONER";

/// Returns a service with 10 of `PAPER` and 5 of `TONER`.
async fn start() -> TestService {
    let service = TestService::start(&crate::SCHEMA, crate::routes::router).await;
    let products = [(PAPER, 10), (TONER, 5)].map(|(sku, on_hand)| CatalogueProduct {
        sku: sku.into(),
        name: sku.into(),
        category: "Supplies".into(),
        unit: "box".into(),
        price: "4.99".into(),
        on_hand,
    });
    let mut connection = service.pool.acquire().await.unwrap();
    let added = store::products::add_missing(&mut connection, &products).await;
    assert_eq!(added.unwrap(), 2);
    service
}

fn at(hour: u32) -> DateTime<Utc> {
    time::parse(&format!("2026-02-03T{hour:02}:00:00Z")).unwrap()
}

fn items(quantities: &[(&str, i64)]) -> Vec<OrderItem> {
    let items = quantities.iter().map(|&(sku, quantity)| OrderItem {
        sku: sku.into(),
        quantity,
    });
    items.collect()
}

fn created(quantities: &[(&str, i64)]) -> Envelope {
    Envelope::new(&OrderCreated {
        order_id: "ord_1".into(),
        client_id: "cli_1".into(),
        requested_ship_date: NaiveDate::from_ymd_opt(2026, 12, 24).unwrap(),
        items: items(quantities),
        created_by: USER.into(),
        created_at: at(8),
    })
}

fn cancelled(quantities: &[(&str, i64)]) -> Envelope {
    Envelope::new(&OrderCancelled {
        order_id: "ord_1".into(),
        client_id: "cli_1".into(),
        requested_ship_date: NaiveDate::from_ymd_opt(2026, 12, 24).unwrap(),
        items: items(quantities),
        created_by: USER.into(),
        created_at: at(8),
        cancelled_by: USER.into(),
        reason: None,
        cancelled_at: at(9),
    })
}

async fn process(service: &TestService, event: &Envelope) {
    let handler = OrderEventHandler {
        result_delay: Duration::ZERO,
    };
    service.process(&handler, event).await.unwrap();
}

/// Returns what is on hand, reserved and shipped of a product.
async fn counts(service: &TestService, sku: &str) -> [i64; 3] {
    let level = service.get(&format!("/internal/stock/{sku}")).await;
    let level: StockLevel = serde_json::from_value(level.unwrap()).unwrap();
    [level.on_hand, level.reserved, level.shipped]
}

/// Returns the status of the shipment, and that of the reservation if there is one.
async fn statuses(service: &TestService) -> (String, Option<String>) {
    sqlx::query_as(
        "SELECT shipments.status, reservations.status
           FROM shipments LEFT JOIN reservations USING (order_id)
          WHERE shipment_id = 'ship_1'",
    )
    .fetch_one(&service.pool)
    .await
    .unwrap()
}

fn expected(shipment: &str, reservation: Option<&str>) -> (String, Option<String>) {
    (shipment.to_owned(), reservation.map(str::to_owned))
}

#[tokio::test]
async fn created_order_reserves_its_stock_and_publishes_it_after_the_delay() {
    let service = start().await;
    let handler = OrderEventHandler {
        result_delay: Duration::from_secs(3_600),
    };
    // Two items have the same product.
    let event = created(&[(PAPER, 3), (TONER, 5), (PAPER, 4)]);
    service.process(&handler, &event).await.unwrap();
    assert_eq!(
        statuses(&service).await,
        expected("PENDING", Some("RESERVED"))
    );
    assert_eq!(counts(&service, PAPER).await, [10, 7, 0]);
    assert_eq!(counts(&service, TONER).await, [5, 5, 0]);

    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [StockReserved::TYPE]);
    assert_eq!(outbox[0].subject, "order/ord_1");
    let reserved: StockReserved = outbox[0].parse_data().unwrap();
    assert_eq!(reserved.order_id, "ord_1");
    assert_eq!(reserved.reservation_id, "res_1");
    let is_delayed: bool = sqlx::query_scalar(
        "SELECT not_before - created_at BETWEEN '59 minutes' AND '61 minutes' FROM outbox_events",
    )
    .fetch_one(&service.pool)
    .await
    .unwrap();
    assert!(is_delayed);
}

#[tokio::test]
async fn order_with_insufficient_stock_reserves_nothing_and_publishes_what_is_missing() {
    let service = start().await;
    process(&service, &created(&[(TONER, 1), (PAPER, 12), ("INK", 1)])).await;
    assert_eq!(
        statuses(&service).await,
        expected("FAILED", Some("FAILED_INSUFFICIENT_STOCK"))
    );
    assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
    assert_eq!(counts(&service, TONER).await, [5, 0, 0]);
    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [StockFailed::TYPE]);
    let failed: StockFailed = outbox[0].parse_data().unwrap();
    let missing = failed.missing_items.iter();
    let missing: Vec<_> = missing
        .map(|item| (item.sku.as_str(), item.missing_quantity))
        .collect();
    assert_eq!(missing, [("INK", 1), (PAPER, 2)]);
}

#[tokio::test]
async fn repeated_event_has_one_effect() {
    let service = start().await;
    // Also with another event id.
    let first = created(&[(PAPER, 3)]);
    for event in [&first, &first, &created(&[(PAPER, 3)])] {
        process(&service, event).await;
        assert_eq!(counts(&service, PAPER).await, [10, 3, 0]);
    }
    let first = cancelled(&[(PAPER, 3)]);
    for event in [&first, &first, &cancelled(&[(PAPER, 3)])] {
        process(&service, event).await;
        assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
    }
    process(&service, &created(&[(PAPER, 3)])).await;
    assert_eq!(
        statuses(&service).await,
        expected("CANCELLED", Some("RELEASED"))
    );
    assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
    assert_eq!(event_types(&service.outbox().await), [StockReserved::TYPE]);
}

#[tokio::test]
async fn order_whose_cancellation_arrives_first_is_never_reserved() {
    let service = start().await;
    process(&service, &cancelled(&[(PAPER, 3)])).await;
    process(&service, &created(&[(PAPER, 3)])).await;
    assert_eq!(statuses(&service).await, expected("CANCELLED", None));
    assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
    assert!(service.outbox().await.is_empty());
}

#[tokio::test]
async fn cancelled_order_without_a_reservation_is_withdrawn() {
    let service = start().await;
    process(&service, &created(&[(PAPER, 11)])).await;
    process(&service, &cancelled(&[(PAPER, 11)])).await;
    assert_eq!(
        statuses(&service).await,
        expected("CANCELLED", Some("FAILED_INSUFFICIENT_STOCK"))
    );
    assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
}

#[tokio::test]
async fn cancellation_after_the_dispatch_changes_nothing() {
    let service = start().await;
    process(&service, &created(&[(PAPER, 3)])).await;
    let body = json!({"truckId": "truck_1", "dispatchedAt": "2026-02-03T10:00:00Z"});
    let path = "/internal/shipments/ship_1/dispatch";
    let key = [("idempotency-key", "key_1")];
    let dispatched = service.send(Method::POST, path, &key, &body).await;
    assert_eq!(dispatched.unwrap()["alreadyDispatched"], false);
    process(&service, &cancelled(&[(PAPER, 3)])).await;

    assert_eq!(
        statuses(&service).await,
        expected("DISPATCHED", Some("DISPATCHED"))
    );
    assert_eq!(counts(&service, PAPER).await, [7, 0, 3]);
    let outbox = service.outbox().await;
    assert_eq!(
        event_types(&outbox),
        [StockReserved::TYPE, ShipmentDispatched::TYPE]
    );
    let dispatched: ShipmentDispatched = outbox[1].parse_data().unwrap();
    assert_eq!(dispatched.order_id, "ord_1");
    assert_eq!(dispatched.order_created_by, USER);
    assert_eq!(dispatched.dispatched_at, at(10));
}

#[tokio::test]
async fn creation_and_cancellation_at_the_same_time_leave_nothing_reserved() {
    let service = start().await;
    let (created, cancelled) = (created(&[(PAPER, 3)]), cancelled(&[(PAPER, 3)]));
    tokio::join!(
        process(&service, &created),
        process(&service, &cancelled),
        process(&service, &created),
    );
    let (shipment, reservation) = statuses(&service).await;
    assert_eq!(shipment, "CANCELLED");
    assert!(reservation.is_none_or(|status| status == "RELEASED"));
    assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
}

#[tokio::test]
async fn event_that_is_not_valid_has_no_effect() {
    let service = start().await;
    let handler = OrderEventHandler {
        result_delay: Duration::ZERO,
    };
    // The first item is valid.
    let event = created(&[(PAPER, 3), (TONER, 0)]);
    let outcome = service.process(&handler, &event).await;
    assert!(
        matches!(
            outcome,
            Err(HandlerError::Permanent {
                reason: "invalid-data",
                ..
            })
        ),
        "{outcome:?}"
    );
    let shipments = service.get("/internal/shipments").await.unwrap();
    assert_eq!(shipments["total"], 0);
    assert_eq!(counts(&service, PAPER).await, [10, 0, 0]);
    assert!(service.outbox().await.is_empty());
}
