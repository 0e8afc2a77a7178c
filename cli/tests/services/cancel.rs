//! Tests of cancellations: at each stage of an order, repeated, concurrent with dispatches, and
//! with events that arrive in any order.

use std::time::{Duration, Instant};

use dm_contracts::topology::INVENTORY_QUEUE;
use futures_util::future::join_all;
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::faults::reconcile_when_idle;
use super::flow::{place_order, place_reserved_orders, shipment_of};
use super::reconcile::{reconcile_now, set_binding};
use super::stack::{TIMEOUT, block_on, channel, client, dm, dm_ok, eventually, request, sql};

/// The stock of each product that a test adds.
const STOCK: i64 = 100;

/// A status and a body.
type Answer = (u16, Value);

async fn post(client: &Client, service: &str, path: &str, body: &Value) -> Answer {
    let answer = request(client, Method::POST, service, path)
        .header("idempotency-key", path)
        .json(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn cancel(client: &Client, order: &str) -> Answer {
    let path = format!("/internal/orders/{order}/cancel");
    post(client, "order", &path, &json!({"reason": "ordered twice"})).await
}

async fn scan(client: &Client, order: &str) -> Answer {
    let path = format!("/internal/shipments/{}/scan", shipment_of(order));
    let body = json!({"barcode": "SKU:PPR", "quantity": 1});
    post(client, "inventory", &path, &body).await
}

async fn dispatch(client: &Client, order: &str) -> Answer {
    let path = format!("/internal/shipments/{}/dispatch", shipment_of(order));
    let body = json!({"truckId": "truck_1", "dispatchedAt": "2026-01-31T12:00:00Z"});
    post(client, "inventory", &path, &body).await
}

/// Adds a product that no other test orders.
fn add_product(sku: &str) -> Result<(), Failed> {
    sql(&format!(
        "INSERT INTO inventory.products (sku, name, category, unit, price)
         SELECT '{sku}', 'Paper for cancelled orders', category, unit, price
           FROM inventory.products LIMIT 1
         ON CONFLICT DO NOTHING;
         INSERT INTO inventory.stock (sku, on_hand, received) VALUES ('{sku}', {STOCK}, {STOCK})
         ON CONFLICT DO NOTHING"
    ))
    .map(drop)
}

/// Asserts the reserved and the shipped quantity of a product.
fn assert_stock(sku: &str, reserved: i64, shipped: i64) -> Result<(), Failed> {
    let query =
        format!("SELECT on_hand, reserved, shipped FROM inventory.stock WHERE sku = '{sku}'");
    let expected = format!("{}|{reserved}|{shipped}", STOCK - shipped);
    assert_eq!(sql(&query)?, expected, "{sku}");
    Ok(())
}

fn wait_for_status(order: &str, status: &str) -> Result<(), Failed> {
    eventually(
        &format!("SELECT status FROM orders.orders WHERE order_id = '{order}'"),
        status,
    )
}

/// Waits until the shipment of an order is withdrawn, and its reservation has this status.
fn wait_until_withdrawn(order: &str, reservation: &str) -> Result<(), Failed> {
    eventually(
        &format!(
            "SELECT shipment.status || ', ' || coalesce(reservation.status, 'none')
               FROM inventory.shipments AS shipment
               LEFT JOIN inventory.reservations AS reservation USING (order_id)
              WHERE order_id = '{order}'"
        ),
        &format!("CANCELLED, {reservation}"),
    )
}

fn count_events(order: &str, key: &str) -> Result<String, Failed> {
    sql(&format!(
        "SELECT count(*) FROM (SELECT subject, routing_key FROM orders.outbox_events
                               UNION ALL
                               SELECT subject, routing_key FROM inventory.outbox_events) AS event
          WHERE subject = 'order/{order}' AND routing_key = '{key}'"
    ))
}

fn assert_clean() -> Result<(), Failed> {
    let report = reconcile_when_idle()?;
    assert_eq!(report["clean"], true, "{report}");
    Ok(())
}

/// The reservation is released, the shipment cannot be loaded, the creator is notified once, and a
/// repetition returns the same answer.
pub(crate) fn cancelled_order_releases_its_reservation_once() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-RESERVED";
    add_product(sku)?;
    let order = block_on(place_reserved_orders(sku, 4, 1))?.remove(0);
    assert_stock(sku, 4, 0)?;
    let (first, again) = block_on(async {
        let client = client();
        (cancel(&client, &order).await, cancel(&client, &order).await)
    });
    assert_eq!(first.0, 200, "{first:?}");
    assert_eq!(first, again);
    for (field, value) in [
        ("orderId", order.as_str()),
        ("status", "CANCELLED"),
        ("cancelledBy", "jhalpert"),
        ("cancelReason", "ordered twice"),
    ] {
        assert_eq!(first.1[field], value, "{first:?}");
    }
    wait_until_withdrawn(&order, "RELEASED")?;
    assert_stock(sku, 0, 0)?;
    let (scanned, dispatched) = block_on(async {
        let client = client();
        (scan(&client, &order).await, dispatch(&client, &order).await)
    });
    for answer in [scanned, dispatched] {
        assert_eq!(answer.0, 404, "{answer:?}");
        assert_eq!(answer.1["error"]["code"], "SHIPMENT_NOT_FOUND");
    }
    assert_eq!(count_events(&order, "order.cancelled.v1")?, "1");
    eventually(
        &format!(
            "SELECT user_id || ': ' || body FROM notifications.notifications
              WHERE kind = 'ORDER_CANCELLED' AND title = 'Order {order} cancelled'"
        ),
        &format!("jhalpert: Order {order} was cancelled by jhalpert. Reason: ordered twice"),
    )
}

/// The stock result arrives after the cancellation: it enters the timeline, and changes no status.
pub(crate) fn order_cancelled_before_its_stock_result_stays_cancelled() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-CREATED";
    add_product(sku)?;
    let (order, answer) = block_on(async {
        let client = client();
        let order = place_order(&client, sku, 3).await;
        let answer = cancel(&client, &order).await;
        (order, answer)
    });
    assert_eq!(answer.0, 200, "{answer:?}");
    wait_until_withdrawn(&order, "RELEASED")?;
    eventually(
        &format!(
            "SELECT string_agg(status, ',' ORDER BY status) FROM orders.order_timeline
              WHERE order_id = '{order}'"
        ),
        "CANCELLED,CREATED,RESERVED",
    )?;
    wait_for_status(&order, "CANCELLED")?;
    assert_stock(sku, 0, 0)
}

/// The first scan sets the order to `PICKING`, later ones change nothing, and the order can still
/// be cancelled.
pub(crate) fn scanned_order_is_picking_and_can_be_cancelled() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-SCANNED";
    add_product(sku)?;
    let order = block_on(place_reserved_orders(sku, 2, 1))?.remove(0);
    let scans = block_on(async {
        let client = client();
        let path = format!("/internal/shipments/{}/scan", shipment_of(&order));
        let again = request(&client, Method::POST, "inventory", &path)
            .json(&json!({"barcode": "SKU:PPR", "quantity": 1}));
        let first = scan(&client, &order).await.0;
        (first, again.send().await.unwrap().status().as_u16())
    });
    assert_eq!(scans, (200, 200));
    wait_for_status(&order, "PICKING")?;
    assert_eq!(count_events(&order, "inventory.picking.started.v1")?, "1");
    let answer = block_on(async { cancel(&client(), &order).await });
    assert_eq!(answer.0, 200, "{answer:?}");
    wait_until_withdrawn(&order, "RELEASED")?;
    wait_for_status(&order, "CANCELLED")?;
    assert_stock(sku, 0, 0)
}

pub(crate) fn shipped_order_cannot_be_cancelled() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-SHIPPED";
    add_product(sku)?;
    let order = block_on(place_reserved_orders(sku, 5, 1))?.remove(0);
    let answer = block_on(async { dispatch(&client(), &order).await });
    assert_eq!(answer.0, 200, "{answer:?}");
    wait_for_status(&order, "SHIPPED")?;
    let answer = block_on(async { cancel(&client(), &order).await });
    assert_eq!(answer.0, 409, "{answer:?}");
    assert_eq!(answer.1["error"]["code"], "ORDER_ALREADY_SHIPPED");
    assert_eq!(
        answer.1["error"]["message"],
        format!("Order {order} is already shipped")
    );
    assert_eq!(count_events(&order, "order.cancelled.v1")?, "0");
    assert_stock(sku, 0, 5)
}

pub(crate) fn order_without_stock_can_be_cancelled() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-FAILED";
    add_product(sku)?;
    let order = block_on(async { place_order(&client(), sku, STOCK + 1).await });
    wait_for_status(&order, "FAILED_INSUFFICIENT_STOCK")?;
    let answer = block_on(async { cancel(&client(), &order).await });
    assert_eq!(answer.0, 200, "{answer:?}");
    wait_until_withdrawn(&order, "FAILED_INSUFFICIENT_STOCK")?;
    wait_for_status(&order, "CANCELLED")?;
    assert_stock(sku, 0, 0)
}

/// The body is optional. An invalid one cancels nothing.
pub(crate) fn invalid_cancellation_changes_nothing() -> Result<(), Failed> {
    let order = block_on(place_reserved_orders("PPR-A4-WHT-500", 1, 1))?.remove(0);
    let path = format!("/internal/orders/{order}/cancel");
    block_on(async {
        let client = client();
        for (body, code) in [
            (json!({"reason": "x".repeat(501)}), "VALIDATION_ERROR"),
            (json!({"reason": 7}), "INVALID_JSON"),
            (json!({"reason": "\0"}), "INVALID_JSON"),
            (json!(["reason"]), "INVALID_JSON"),
        ] {
            let answer = post(&client, "order", &path, &body).await;
            assert_eq!(answer.0, 400, "{answer:?}");
            assert_eq!(answer.1["error"]["code"], code);
        }
        let unknown = cancel(&client, "ord_0").await;
        assert_eq!(unknown.0, 404, "{unknown:?}");
        assert_eq!(unknown.1["error"]["code"], "ORDER_NOT_FOUND");
    });
    wait_for_status(&order, "RESERVED")?;
    let answer = block_on(async {
        let request = request(&client(), Method::POST, "order", &path).send();
        request.await.unwrap().json::<Value>().await.unwrap()
    });
    assert_eq!(answer["status"], "CANCELLED", "{answer}");
    assert_eq!(answer["cancelReason"], Value::Null, "{answer}");
    Ok(())
}

/// Of each pair of a cancellation and a dispatch one wins, and both services agree.
pub(crate) fn concurrent_cancels_and_dispatches_end_consistently() -> Result<(), Failed> {
    const PAIRS: usize = 20;
    let sku = "PPR-TEST-CANCEL-RACE";
    add_product(sku)?;
    let orders = block_on(place_reserved_orders(sku, 2, PAIRS))?;
    let answers = block_on(async {
        let client = client();
        let client = &client;
        let pairs = (0_u64..).zip(&orders).map(|(number, order)| async move {
            let later = async {
                // From at once to after the event of the cancellation was processed.
                tokio::time::sleep(Duration::from_millis(number * 6)).await;
                dispatch(client, order).await
            };
            tokio::join!(cancel(client, order), later)
        });
        join_all(pairs).await
    });
    assert_clean()?;
    let (mut shipped, mut reinstated) = (0, 0);
    for (order, (cancelled, dispatched)) in orders.iter().zip(&answers) {
        let expected = match (cancelled.0, dispatched.0) {
            (200, 404) => "CANCELLED",
            (200 | 409, 200) => "SHIPPED",
            _ => panic!("{order}: {cancelled:?} {dispatched:?}"),
        };
        wait_for_status(order, expected)?;
        shipped += i64::from(dispatched.0 == 200);
        reinstated += usize::from(cancelled.0 == 200 && dispatched.0 == 200);
    }
    assert_stock(sku, 0, 2 * shipped)?;
    let list = orders.join("','order/");
    let events = sql(&format!(
        "SELECT count(*) FROM orders.outbox_events
          WHERE routing_key = 'order.reinstated.v1' AND subject IN ('order/{list}')"
    ))?;
    assert_eq!(events, reinstated.to_string());
    Ok(())
}

/// `dm reconcile` reports stock that a withdrawn shipment keeps, a shipment that stays open without
/// its stock, and stock that was released twice.
pub(crate) fn reconcile_reports_inconsistent_stock_of_cancelled_orders() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-BROKEN";
    add_product(sku)?;
    let mut orders = block_on(place_reserved_orders(sku, 3, 2))?;
    let (open, cancelled) = (orders.remove(0), orders.remove(0));
    let answer = block_on(async { cancel(&client(), &cancelled).await });
    assert_eq!(answer.0, 200, "{answer:?}");
    wait_until_withdrawn(&cancelled, "RELEASED")?;
    assert_clean()?;
    let order = |order: &str| format!("order_id = '{order}'");
    let product = format!("sku = '{sku}'");
    for (table, row, column, intact, broken, findings) in [
        (
            "reservations",
            order(&cancelled),
            "status",
            "'RELEASED'",
            "'RESERVED'",
            vec![
                ("shipment-reserved", shipment_of(&cancelled)),
                ("stock-reserved", sku.to_owned()),
            ],
        ),
        (
            "shipments",
            order(&cancelled),
            "status",
            "'CANCELLED'",
            "'PENDING'",
            vec![
                ("shipment-reserved", shipment_of(&cancelled)),
                ("cancellation-processed", format!("order/{cancelled}")),
            ],
        ),
        (
            "reservations",
            order(&open),
            "status",
            "'RESERVED'",
            "'RELEASED'",
            vec![("shipment-reserved", shipment_of(&open))],
        ),
        (
            "shipments",
            order(&open),
            "status",
            "'PENDING'",
            "'CANCELLED'",
            vec![
                ("shipment-reserved", shipment_of(&open)),
                ("shipment-withdrawn", shipment_of(&open)),
            ],
        ),
        (
            "stock",
            product,
            "reserved",
            "3",
            "0",
            vec![("stock-reserved", sku.to_owned())],
        ),
    ] {
        let set = |value: &str| {
            sql(&format!(
                "UPDATE inventory.{table} SET {column} = {value} WHERE {row}"
            ))
        };
        set(broken)?;
        let report = reconcile_now();
        set(intact)?;
        let report = report?;
        for (invariant, id) in findings {
            let mut found = report["findings"].as_array().into_iter().flatten();
            let is_reported =
                found.any(|finding| finding["scope"] == invariant && finding["id"] == id);
            assert!(is_reported, "{table} {broken}: {invariant} {id}: {report}");
        }
    }
    assert_clean()
}

/// Returns the event of an order with this routing key.
fn event_of(order: &str, key: &str) -> Result<String, Failed> {
    sql(&format!(
        "SELECT event_id FROM orders.outbox_events
          WHERE subject = 'order/{order}' AND routing_key = '{key}'"
    ))
}

fn wait_until_inventory_processed(event: &str) -> Result<(), Failed> {
    eventually(
        &format!("SELECT count(*) FROM inventory.inbox_events WHERE event_id = '{event}'"),
        "1",
    )
}

/// The event of an order is lost on its way, and published again after its cancellation.
pub(crate) fn cancellation_that_overtakes_its_order_reserves_nothing() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-OVERTAKES";
    dm_ok(&["up"])?;
    add_product(sku)?;
    set_binding(INVENTORY_QUEUE, "order.created.v1", false)?;
    let (order, answer) = block_on(async {
        let client = client();
        let order = place_order(&client, sku, 4).await;
        let answer = cancel(&client, &order).await;
        (order, answer)
    });
    let withdrawn = wait_until_withdrawn(&order, "none");
    // First: a failure must not leave the queue without its binding.
    set_binding(INVENTORY_QUEUE, "order.created.v1", true)?;
    assert_eq!(answer.0, 200, "{answer:?}");
    withdrawn?;
    dm_ok(&["reconcile", "--repair", "--grace", "1s"])?;
    wait_until_inventory_processed(&event_of(&order, "order.created.v1")?)?;
    wait_until_withdrawn(&order, "none")?;
    wait_for_status(&order, "CANCELLED")?;
    assert_stock(sku, 0, 0)?;
    assert_clean()
}

/// The event of a cancellation is lost on its way, and published again after the dispatch.
pub(crate) fn dispatch_that_overtakes_a_cancellation_wins() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-LATE";
    dm_ok(&["up"])?;
    add_product(sku)?;
    let order = block_on(place_reserved_orders(sku, 4, 1))?.remove(0);
    set_binding(INVENTORY_QUEUE, "order.cancelled.v1", false)?;
    let (cancelled, dispatched) = block_on(async {
        let client = client();
        let cancelled = cancel(&client, &order).await.0;
        (cancelled, dispatch(&client, &order).await.0)
    });
    let shipped = wait_for_status(&order, "SHIPPED");
    set_binding(INVENTORY_QUEUE, "order.cancelled.v1", true)?;
    shipped?;
    assert_eq!((cancelled, dispatched), (200, 200));
    let refused = block_on(async { cancel(&client(), &order).await });
    assert_eq!(refused.0, 409, "{refused:?}");
    eventually(
        &format!(
            "SELECT string_agg(kind, ',' ORDER BY kind) FROM notifications.notifications
              WHERE deep_link = '/infinity?orderId={order}'"
        ),
        "ORDER_CANCELLED,ORDER_PLACED,ORDER_REINSTATED,SHIPMENT_DISPATCHED",
    )?;
    dm_ok(&["reconcile", "--repair", "--grace", "1s"])?;
    wait_until_inventory_processed(&event_of(&order, "order.cancelled.v1")?)?;
    wait_for_status(&order, "SHIPPED")?;
    assert_stock(sku, 0, 4)?;
    assert_clean()
}

/// Both events of an order are dead letters, and are replayed one after the other.
pub(crate) fn dead_letters_of_a_cancelled_order_are_replayed_in_any_order() -> Result<(), Failed> {
    let sku = "PPR-TEST-CANCEL-REPLAYED";
    add_product(sku)?;
    for (keys, reservation) in [
        (["order.created.v1", "order.cancelled.v1"], "RELEASED"),
        (["order.cancelled.v1", "order.created.v1"], "none"),
    ] {
        dm_ok(&["chaos", "kill", "inventory"])?;
        let order = block_on(async {
            let client = client();
            let order = place_order(&client, sku, 4).await;
            let answer = cancel(&client, &order).await;
            assert_eq!(answer.0, 200, "{answer:?}");
            reject_messages(keys.len()).await.unwrap();
            order
        });
        dm_ok(&["up"])?;
        for key in keys {
            let event = event_of(&order, key)?;
            wait_until_dead_lettered(&event)?;
            dm_ok(&["dlq", "replay", "--id", &event])?;
            wait_until_inventory_processed(&event)?;
        }
        wait_until_withdrawn(&order, reservation)?;
        wait_for_status(&order, "CANCELLED")?;
        assert_stock(sku, 0, 0)?;
    }
    assert_clean()
}

/// Rejects the next messages of inventory's queue, which dead-letters them.
async fn reject_messages(count: usize) -> Result<(), lapin::Error> {
    let (connection, channel) = channel().await?;
    let options = BasicGetOptions { no_ack: false };
    let until = Instant::now() + TIMEOUT;
    let mut rejected = 0;
    while rejected < count {
        assert!(Instant::now() < until, "only {rejected} events arrived");
        match channel.basic_get(INVENTORY_QUEUE.into(), options).await? {
            Some(message) => {
                let options = BasicRejectOptions { requeue: false };
                message.reject(options).await?;
                rejected += 1;
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connection.close(200, "done".into()).await
}

fn wait_until_dead_lettered(event: &str) -> Result<(), Failed> {
    let until = Instant::now() + TIMEOUT;
    while !dm(&["dlq", "show", event]).status.success() {
        if Instant::now() > until {
            return Err(format!("{event} is not a dead letter").into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
