//! Tests of the table `shipments`.

use std::pin::pin;

use dm_contracts::api::shipment::Shipment;

use super::*;
use crate::store::shipments::{
    DispatchRecord, LockedShipment, ShipmentFilter, ShipmentListSource, insert, lock,
    lock_by_order, mark_dispatched, set_status,
};

fn dispatch() -> DispatchRecord {
    DispatchRecord {
        dispatched_at: at(10),
        dispatched_by: "dphilbin".into(),
        truck_id: "truck_scr_03".into(),
        dispatch_id: "dsp_1".into(),
    }
}

#[tokio::test]
async fn list_is_sorted_by_time_and_then_by_number() {
    let pool = create_database().await;
    for order_id in ["ord_10", "ord_9"] {
        insert_pending_shipment(&pool, order_id).await;
    }
    let mut connection = pool.acquire().await.unwrap();
    let mut older = new_shipment("ord_11");
    older.created_at = at(7);
    assert!(
        insert(&mut connection, &older, ShipmentStatus::Cancelled)
            .await
            .unwrap()
    );

    let filter = ShipmentFilter::All;
    let list = read_list(&pool, ShipmentListSource { filter }).await;
    let ids: Vec<_> = list.iter().map(|item| item.shipment_id.as_str()).collect();
    assert_eq!(ids, ["ship_11", "ship_9", "ship_10"]);
    assert_eq!(list[0].status, ShipmentStatus::Cancelled);
    let expected = Shipment {
        shipment_id: "ship_10".into(),
        order_id: "ord_10".into(),
        client_id: "client_501".into(),
        status: ShipmentStatus::Pending,
        requested_ship_date: NaiveDate::from_ymd_opt(2026, 12, 24).unwrap(),
        created_at: at(8),
        items: vec![OrderItem {
            sku: "PPR-A4-WHT-500".into(),
            quantity: 3,
        }],
    };
    assert_eq!(list[2], expected);
}

#[tokio::test]
async fn second_shipment_of_an_order_waits_for_the_first_and_changes_nothing() {
    let pool = create_database().await;
    let mut first = pool.begin().await.unwrap();
    let inserted = insert(&mut first, &new_shipment("ord_1"), ShipmentStatus::Pending).await;
    assert!(inserted.unwrap());

    let mut second = pin!(async {
        let mut connection = pool.acquire().await.unwrap();
        let order = new_shipment("ord_1");
        let inserted = insert(&mut connection, &order, ShipmentStatus::Cancelled).await;
        let status = lock_by_order(&mut connection, "ord_1").await;
        (inserted.unwrap(), status.unwrap())
    });
    run_until_blocked(&pool, second.as_mut()).await;
    first.commit().await.unwrap();
    assert_eq!(second.await, (false, ShipmentStatus::Pending));
}

#[tokio::test]
async fn missing_or_locked_shipment_cannot_be_locked() {
    let pool = create_database().await;
    insert_pending_shipment(&pool, "ord_1").await;
    let mut first = pool.begin().await.unwrap();
    assert_eq!(lock(&mut first, "ship_2").await.unwrap(), None);
    let missing = lock_by_order(&mut first, "ord_2").await;
    assert!(
        matches!(missing, Err(sqlx::Error::RowNotFound)),
        "{missing:?}"
    );
    let status = lock_by_order(&mut first, "ord_1").await.unwrap();
    assert_eq!(status, ShipmentStatus::Pending);

    let mut second = pool.begin().await.unwrap();
    set_lock_timeout(&mut second).await;
    assert_error_code(lock(&mut second, "ship_1").await, LOCK_NOT_AVAILABLE);
    second.rollback().await.unwrap();
    first.rollback().await.unwrap();

    let mut first = pool.begin().await.unwrap();
    assert!(lock(&mut first, "ship_1").await.unwrap().is_some());
    let mut second = pool.begin().await.unwrap();
    set_lock_timeout(&mut second).await;
    assert_error_code(
        lock_by_order(&mut second, "ord_1").await,
        LOCK_NOT_AVAILABLE,
    );
}

#[tokio::test]
async fn dispatched_shipment_has_its_dispatch_and_the_time_of_its_update() {
    let pool = create_database().await;
    for order_id in ["ord_1", "ord_2"] {
        insert_pending_shipment(&pool, order_id).await;
    }
    let mut transaction = pool.begin().await.unwrap();
    set_status(&mut transaction, "ord_2", ShipmentStatus::Loading)
        .await
        .unwrap();
    mark_dispatched(&mut transaction, "ship_1", &dispatch())
        .await
        .unwrap();
    // `now()` is the time at which the transaction began.
    let updated = sqlx::query_scalar("SELECT count(*) FROM shipments WHERE updated_at > now()");
    let updated: i64 = updated.fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(updated, 2);
    transaction.commit().await.unwrap();

    let mut connection = pool.acquire().await.unwrap();
    for (shipment_id, order_id, status, dispatch) in [
        (
            "ship_1",
            "ord_1",
            ShipmentStatus::Dispatched,
            Some(dispatch()),
        ),
        ("ship_2", "ord_2", ShipmentStatus::Loading, None),
    ] {
        let expected = LockedShipment {
            shipment_id: shipment_id.into(),
            order_id: order_id.into(),
            created_by: "jhalpert".into(),
            status,
            dispatch,
        };
        let locked = lock(&mut connection, shipment_id).await;
        assert_eq!(locked.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn table_refuses_an_incomplete_or_repeated_dispatch_and_an_unknown_status() {
    let pool = create_database().await;
    for order_id in ["ord_1", "ord_2"] {
        insert_pending_shipment(&pool, order_id).await;
    }
    let mut connection = pool.acquire().await.unwrap();
    for status in ShipmentStatus::ALL {
        let changed = set_status(&mut connection, "ord_1", status).await;
        if status == ShipmentStatus::Dispatched {
            assert_error_code(changed, CHECK_VIOLATION);
        } else {
            changed.unwrap();
        }
    }
    let unknown = sqlx::query("UPDATE shipments SET status = 'LOST'");
    assert_error_code(unknown.execute(&pool).await, CHECK_VIOLATION);

    mark_dispatched(&mut connection, "ship_1", &dispatch())
        .await
        .unwrap();
    let withdrawn = set_status(&mut connection, "ord_1", ShipmentStatus::Cancelled).await;
    assert_error_code(withdrawn, CHECK_VIOLATION);
    let repeated = mark_dispatched(&mut connection, "ship_2", &dispatch()).await;
    assert_error_code(repeated, UNIQUE_VIOLATION);
}
