//! Tests against a database.

use chrono::{NaiveDate, TimeDelta, Utc};
use dm_contracts::api::order::{OrderItem, OrderStatus};
use sqlx::PgPool;

use super::{cancellation, orders, timeline};
use crate::domain::placement::NewOrder;

async fn create_database() -> PgPool {
    dm_test_servers::create_database("orders", &crate::MIGRATIONS).await
}

fn new_order() -> NewOrder {
    NewOrder {
        client_id: "cli_1".into(),
        requested_ship_date: NaiveDate::from_ymd_opt(2026, 12, 24).unwrap(),
        items: vec![
            OrderItem {
                sku: "PAPER-A4".into(),
                quantity: 3,
            },
            OrderItem {
                sku: "TONER".into(),
                quantity: 1,
            },
        ],
        notes: "two boxes, \u{201e}fragile\u{201c}".into(),
    }
}

async fn insert(pool: &PgPool) -> String {
    let mut connection = pool.acquire().await.unwrap();
    let inserted = orders::insert(&mut connection, &new_order(), "jhalpert").await;
    inserted.unwrap().0
}

#[tokio::test]
async fn inserted_order_is_found_with_all_its_data() {
    let pool = create_database().await;
    let before = Utc::now() - TimeDelta::minutes(1);
    let mut connection = pool.acquire().await.unwrap();
    let (id, created_at) = orders::insert(&mut connection, &new_order(), "jhalpert")
        .await
        .unwrap();
    assert_eq!(id, "ord_9001");
    assert!(created_at > before);

    let order = orders::find(&pool, &id).await.unwrap().unwrap();
    assert_eq!(order.order_id, "ord_9001");
    assert_eq!(order.client_id, "cli_1");
    assert_eq!(order.requested_ship_date.to_string(), "2026-12-24");
    assert_eq!(order.items, new_order().items);
    assert_eq!(order.notes, new_order().notes);
    assert_eq!(order.created_by, "jhalpert");
    assert_eq!(order.created_at, created_at);
    assert_eq!(order.status, OrderStatus::Created);
    assert_eq!((order.shipment_id, order.cancelled_at), (None, None));
    assert_eq!(insert(&pool).await, "ord_9002");
}

#[tokio::test]
async fn missing_order_is_not_found() {
    let pool = create_database().await;
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(orders::find(&pool, "ord_1").await.unwrap(), None);
    assert_eq!(orders::lock(&mut connection, "ord_1").await.unwrap(), None);
    let locked = cancellation::lock(&mut connection, "ord_1").await;
    assert_eq!(locked.unwrap(), None);
    assert_eq!(timeline::list(&pool, "ord_1").await.unwrap(), []);
}

#[tokio::test]
async fn locked_order_cannot_be_locked_by_another_transaction() {
    let pool = create_database().await;
    let id = insert(&pool).await;
    let mut first = pool.begin().await.unwrap();
    let status = orders::lock(&mut first, &id).await.unwrap();
    assert_eq!(status, Some(OrderStatus::Created));

    let mut second = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '50ms'")
        .execute(&mut *second)
        .await
        .unwrap();
    let error = cancellation::lock(&mut second, &id).await.unwrap_err();
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("55P03"), "{error}");
    drop(second);

    first.rollback().await.unwrap();
    let mut third = pool.begin().await.unwrap();
    assert!(orders::lock(&mut third, &id).await.unwrap().is_some());
}

#[tokio::test]
async fn status_without_a_shipment_keeps_the_shipment() {
    let pool = create_database().await;
    let id = insert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    for (status, shipment) in [
        (OrderStatus::Picking, Some("shp_1")),
        (OrderStatus::Shipped, None),
    ] {
        orders::set_status(&mut connection, &id, status, shipment)
            .await
            .unwrap();
    }
    let order = orders::find(&pool, &id).await.unwrap().unwrap();
    assert_eq!(order.status, OrderStatus::Shipped);
    assert_eq!(order.shipment_id.as_deref(), Some("shp_1"));
}

#[tokio::test]
async fn cancelled_order_has_its_cancellation() {
    let pool = create_database().await;
    let (id, other) = (insert(&pool).await, insert(&pool).await);
    let mut transaction = pool.begin().await.unwrap();
    let order = cancellation::lock(&mut transaction, &id).await.unwrap();
    assert_eq!(order.unwrap().cancellation, None);
    let at = cancellation::mark_cancelled(&mut transaction, &id, "mscott", Some("no paper"))
        .await
        .unwrap();
    transaction.commit().await.unwrap();

    let mut transaction = pool.begin().await.unwrap();
    let order = cancellation::lock(&mut transaction, &id).await.unwrap();
    let order = order.unwrap();
    assert_eq!(order.status, OrderStatus::Cancelled);
    assert_eq!(order.items, new_order().items);
    let cancellation = order.cancellation.unwrap();
    assert_eq!(cancellation.at, at);
    assert_eq!(cancellation.by, "mscott");
    assert_eq!(cancellation.reason.as_deref(), Some("no paper"));
    let other = orders::find(&pool, &other).await.unwrap().unwrap();
    assert_eq!(other.status, OrderStatus::Created);
}

#[tokio::test]
async fn timeline_is_sorted_by_time_and_then_by_insertion() {
    let pool = create_database().await;
    let id = insert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let now = Utc::now();
    for (status, seconds, source) in [
        (OrderStatus::Picking, 2, "third"),
        (OrderStatus::Created, 0, "first"),
        (OrderStatus::Reserved, 0, "second"),
    ] {
        let at = now + TimeDelta::seconds(seconds);
        timeline::append(&mut connection, &id, status, at, source)
            .await
            .unwrap();
    }
    let entries = timeline::list(&pool, &id).await.unwrap();
    let sources: Vec<_> = entries.iter().map(|entry| entry.source.as_str()).collect();
    assert_eq!(sources, ["first", "second", "third"]);
    for (status, expected) in [
        (OrderStatus::Reserved, true),
        (OrderStatus::Cancelled, false),
    ] {
        let found = timeline::has_status(&mut connection, &id, status).await;
        assert_eq!(found.unwrap(), expected, "{status:?}");
    }
}

#[tokio::test]
async fn table_refuses_unknown_statuses_and_a_cancelled_order_without_its_cancellation() {
    let pool = create_database().await;
    let id = insert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    for status in OrderStatus::ALL {
        let outcome = orders::set_status(&mut connection, &id, status, None).await;
        assert_eq!(
            outcome.is_ok(),
            status != OrderStatus::Cancelled,
            "{status:?}: {outcome:?}"
        );
    }
    let error = sqlx::query("UPDATE orders SET status = 'LOST'")
        .execute(&pool)
        .await
        .unwrap_err();
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some("23514"), "{error}");
}
