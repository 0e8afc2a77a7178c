//! Tests of requests against a database.

use chrono::{DateTime, Utc};
use dm_contracts::DomainEvent as _;
use dm_contracts::api::order::{OrderStatus, OrderSummary};
use dm_contracts::events::{OrderCancelled, OrderCreated, OrderStatusChanged};
use dm_contracts::time;
use dm_test_kit::{TestService, USER, event_types, field_texts};
use serde_json::json;

/// The orders that [`start_with_orders`] inserts, in their order: id, hour, client and status.
/// Orders of one hour have the same time.
const ORDERS: [(&str, u32, &str, OrderStatus); 7] = [
    ("ord_5", 7, "cli_2", OrderStatus::Created),
    ("ord_9", 8, "cli_1", OrderStatus::Shipped),
    ("ord_10", 8, "cli_1", OrderStatus::Created),
    ("ord_11", 8, "cli_2", OrderStatus::Created),
    ("ord_100", 8, "cli_1", OrderStatus::Created),
    ("ord_3", 9, "cli_1", OrderStatus::Cancelled),
    ("ord_4", 10, "cli_2", OrderStatus::Shipped),
];

async fn start() -> TestService {
    TestService::start(&crate::SCHEMA, super::router).await
}

/// Returns a time on a fixed day.
fn at(hour: u32) -> DateTime<Utc> {
    time::parse(&format!("2026-02-03T{hour:02}:00:00.000001Z")).unwrap()
}

async fn insert(
    service: &TestService,
    (id, hour, client_id, status): (&str, u32, &str, OrderStatus),
) {
    sqlx::query(
        "INSERT INTO orders (order_id, created_at, client_id, status, requested_ship_date, items,
                             created_by, cancelled_at, cancelled_by)
         VALUES ($1, $2, $3, $4, '2026-12-24', '[]', 'jhalpert',
                 CASE WHEN $4 = 'CANCELLED' THEN $2 END,
                 CASE WHEN $4 = 'CANCELLED' THEN 'mscott' END)",
    )
    .bind(id)
    .bind(at(hour))
    .bind(client_id)
    .bind(status.as_str())
    .execute(&service.pool)
    .await
    .unwrap();
}

async fn start_with_orders() -> TestService {
    let service = start().await;
    for order in ORDERS.into_iter().rev() {
        insert(&service, order).await;
    }
    service
}

async fn read_pages(service: &TestService, query: &str) -> Vec<Vec<String>> {
    let path = format!("/internal/orders?{query}");
    service.read_pages(&path, "orderId").await
}

#[tokio::test]
async fn orders_are_sorted_by_time_and_then_by_number() {
    let service = start_with_orders().await;
    let oldest_first = ORDERS.map(|(id, ..)| id);
    let mut newest_first = oldest_first;
    newest_first.reverse();
    for (query, expected) in [
        ("order=oldest", oldest_first),
        ("order=newest", newest_first),
        ("order=", oldest_first),
    ] {
        assert_eq!(read_pages(&service, query).await, [expected], "{query}");
    }

    let list = service.get("/internal/orders").await.unwrap();
    let orders: Vec<OrderSummary> = serde_json::from_value(list["items"].clone()).unwrap();
    let expected = OrderSummary {
        order_id: "ord_3".into(),
        client_id: "cli_1".into(),
        status: OrderStatus::Cancelled,
        requested_ship_date: "2026-12-24".parse().unwrap(),
        created_at: at(9),
    };
    assert_eq!(orders[5], expected);
}

#[tokio::test]
async fn pages_of_any_size_have_each_order_once() {
    let service = start_with_orders().await;
    let (path, id) = ("/internal/orders", "orderId");
    let mut ids = ORDERS.map(|(id, ..)| id);
    // Without an order, the newest orders are selected and sorted like the list.
    service.assert_pages_from_end(path, id, &ids).await;
    let oldest_first = format!("{path}?order=oldest");
    service.assert_pages(&oldest_first, id, &ids).await;
    ids.reverse();
    let newest_first = format!("{path}?order=newest");
    service.assert_pages(&newest_first, id, &ids).await;

    let empty = start().await;
    let none: [&str; 0] = [];
    assert_eq!(read_pages(&empty, "limit=1").await, [none]);
}

#[tokio::test]
async fn filters_select_orders_on_all_pages() {
    let service = start_with_orders().await;
    for (filter, expected) in [
        (
            "clientId=cli_1",
            &["ord_9", "ord_10", "ord_100", "ord_3"][..],
        ),
        ("status=CREATED", &["ord_5", "ord_10", "ord_11", "ord_100"]),
        ("status=CANCELLED", &["ord_3"]),
        ("status=SHIPPED&clientId=cli_2", &["ord_4"]),
        ("status=CREATED&clientId=cli_1", &["ord_10", "ord_100"]),
        ("status=PICKING", &[]),
        ("clientId=CLI_1", &[]),
        ("clientId=cli_1%27+OR+true+--", &[]),
    ] {
        for paging in ["", "&limit=1&order=oldest", "&limit=3&order=oldest"] {
            let pages = read_pages(&service, &format!("{filter}{paging}")).await;
            assert_eq!(pages.concat(), expected, "{filter}{paging}");
        }
    }
    for invalid in ["status=LOST", "status=created"] {
        let response = service.get(&format!("/internal/orders?{invalid}")).await;
        assert_eq!(response, Err("VALIDATION_ERROR"), "{invalid}");
    }
}

#[tokio::test]
async fn cursor_is_refused_with_another_filter_or_order() {
    let service = start_with_orders().await;
    let query = "/internal/orders?clientId=cli_1&order=oldest&limit=1";
    let list = service.get(query).await.unwrap();
    let cursor = list["nextCursor"].as_str().unwrap();
    for (query, is_valid) in [
        ("clientId=cli_1&order=oldest", true),
        ("clientId=cli_1&order=newest", false),
        ("clientId=cli_2&order=oldest", false),
        ("clientId=cli_1&order=oldest&status=CREATED", false),
        ("order=oldest", false),
    ] {
        let path = format!("/internal/orders?{query}&cursor={cursor}");
        match service.get(&path).await {
            Ok(list) => {
                assert!(is_valid, "{query}");
                assert_eq!(
                    field_texts(&list, "orderId"),
                    ["ord_10", "ord_100", "ord_3"]
                );
            }
            Err(code) => {
                assert!(!is_valid, "{query}");
                assert_eq!(code, "VALIDATION_ERROR", "{query}");
            }
        }
    }
}

#[tokio::test]
async fn order_that_is_placed_between_two_pages_moves_no_other_order() {
    let service = start_with_orders().await;
    let path = "/internal/orders?limit=3&order=newest";
    let list = service.get(path).await.unwrap();
    assert_eq!(field_texts(&list, "orderId"), ["ord_4", "ord_3", "ord_100"]);
    for order in [
        ("ord_200", 11, "cli_1", OrderStatus::Created),
        ("ord_12", 8, "cli_1", OrderStatus::Created),
    ] {
        insert(&service, order).await;
    }
    let cursor = list["nextCursor"].as_str().unwrap();
    let list = service.get(&format!("{path}&cursor={cursor}")).await;
    // The one with an earlier time than the cursor is on the next page.
    let list = list.unwrap();
    assert_eq!(
        field_texts(&list, "orderId"),
        ["ord_12", "ord_11", "ord_10"]
    );
}

#[tokio::test]
async fn response_has_up_to_1000_orders_and_continues_after_them() {
    let service = start().await;
    sqlx::query(
        "INSERT INTO orders (order_id, created_at, client_id, status, requested_ship_date, items,
                             created_by)
         SELECT 'ord_' || number, $1 + number / 3 * interval '1 second', 'cli_1', 'CREATED',
                '2026-12-24', '[]', 'jhalpert'
           FROM generate_series(1, 1001) AS number",
    )
    .bind(at(8))
    .execute(&service.pool)
    .await
    .unwrap();
    let ids: Vec<String> = (1..=1001).map(|number| format!("ord_{number}")).collect();
    for (query, first, second) in [
        ("limit=1000&order=oldest", &ids[..1000], &ids[1000..]),
        ("limit=1000", &ids[1..], &ids[..1]),
        ("limit=", &ids[1..], &ids[..1]),
    ] {
        let pages = read_pages(&service, query).await;
        assert_eq!(pages.len(), 2, "{query}");
        assert!(pages[0] == first && pages[1] == second, "{query}");
    }
    for limit in ["0", "1001", "-1", "ten"] {
        let response = service
            .get(&format!("/internal/orders?limit={limit}"))
            .await;
        assert_eq!(response, Err("VALIDATION_ERROR"), "{limit}");
    }
}

#[tokio::test]
async fn placed_order_is_published_with_its_data() {
    let service = start().await;
    let order = json!({
        "clientId": "cli_1",
        "requestedShipDate": "2026-12-24",
        "items": [{"sku": "TONER", "quantity": 2}],
    });
    let placed = service.post("/internal/orders", &order).await.unwrap();
    let invalid = service.post("/internal/orders", &json!({})).await;
    assert_eq!(invalid, Err("VALIDATION_ERROR"));

    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [OrderCreated::TYPE]);
    assert_eq!(outbox[0].subject, "order/ord_9001");
    let event: OrderCreated = outbox[0].parse_data().unwrap();
    assert_eq!(event.order_id, placed["orderId"].as_str().unwrap());
    assert_eq!(event.client_id, "cli_1");
    assert_eq!(event.requested_ship_date.to_string(), "2026-12-24");
    assert_eq!(
        (&*event.items[0].sku, event.items[0].quantity),
        ("TONER", 2)
    );
    assert_eq!(event.created_by, USER);
    let created_at = placed["createdAt"].as_str().and_then(time::parse);
    assert_eq!(Some(event.created_at), created_at);
    let pages = read_pages(&service, "limit=1").await;
    assert_eq!(pages, [["ord_9001"]]);
}

#[tokio::test]
async fn order_is_cancelled_once() {
    let service = start_with_orders().await;
    let path = "/internal/orders/ord_10/cancel";
    let reason = json!({"reason": "no paper"});
    let first = service.post(path, &reason).await.unwrap();
    let second = service.post(path, &json!({"reason": "other"})).await;
    assert_eq!(second.as_ref(), Ok(&first));
    assert_eq!(first["cancelReason"], "no paper");
    assert_eq!(first["cancelledBy"], USER);

    let outbox = service.outbox().await;
    assert_eq!(
        event_types(&outbox),
        [OrderCancelled::TYPE, OrderStatusChanged::TYPE]
    );
    let cancelled: OrderCancelled = outbox[0].parse_data().unwrap();
    assert_eq!(cancelled.order_id, "ord_10");
    assert_eq!(cancelled.client_id, "cli_1");
    assert_eq!(cancelled.created_at, at(8));
    assert_eq!(cancelled.reason.as_deref(), Some("no paper"));
    let changed: OrderStatusChanged = outbox[1].parse_data().unwrap();
    assert_eq!(changed.status, "CANCELLED");
    assert_eq!(changed.at, cancelled.cancelled_at);

    for (id, code) in [
        ("ord_9", "ORDER_ALREADY_SHIPPED"),
        ("ord_1", "ORDER_NOT_FOUND"),
    ] {
        let path = format!("/internal/orders/{id}/cancel");
        assert_eq!(service.post(&path, &reason).await, Err(code), "{id}");
    }
    assert_eq!(service.outbox().await.len(), 2);
    let timeline = service.get("/internal/orders/ord_10/timeline").await;
    let timeline = timeline.unwrap();
    assert_eq!(timeline["events"].as_array().unwrap().len(), 1);
    assert_eq!(timeline["events"][0]["status"], "CANCELLED");
}
