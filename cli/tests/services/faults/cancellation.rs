//! Cancellations whose consumer is killed, and that race with dispatches.

use std::time::{Duration, Instant};

use dm_contracts::DomainEvent as _;
use dm_contracts::events::OrderCancelled;
use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::super::flow::{place_reserved_orders, shipment_of};
use super::super::stack::{TIMEOUT, block_on, client, dm_ok, eventually, request, sql};
use super::fail_points::{exit_at, up_with_settings, wait_until_ended};
use super::{Fault, kill};

/// The fail points between the record of a cancellation and its acknowledgement.
const STEPS: [&str; 2] = ["consumer.processed", "consumer.committed"];

/// A product that is in stock.
const SKU: &str = "PPR-A4-WHT-500";

/// The maximum time for which a request is repeated: a service is down until `dm up` ends.
const MAX_DOWNTIME: Duration = TIMEOUT.saturating_mul(2);

pub(super) const FAULTS: &[Fault] = fault_list![
    inventory_killed_before_it_acknowledges_a_cancellation_releases_once:
        "inventory is killed while it cancels an order, twice each: effect written, committed",
    cancellations_and_dispatches_survive_killed_services:
        "kill -9 of order and inventory while orders are cancelled and dispatched at once",
];

/// Counts the orders of a list whose shipment and reservation contradict their status.
fn contradictions(orders: &[String]) -> String {
    let list = orders.join("','");
    format!(
        "SELECT count(*)
           FROM orders.orders
           LEFT JOIN inventory.shipments AS shipment USING (order_id)
           LEFT JOIN inventory.reservations AS reservation USING (order_id)
          WHERE order_id IN ('{list}')
            AND (orders.status, coalesce(shipment.status, 'none'),
                 coalesce(reservation.status, 'none')) NOT IN (
                    ('CANCELLED', 'CANCELLED', 'RELEASED'),
                    ('SHIPPED', 'DISPATCHED', 'DISPATCHED'))"
    )
}

/// Sends a request until a service answers. Returns the status of the answer.
async fn send(client: &Client, service: &str, path: &str, body: &Value) -> u16 {
    let until = Instant::now() + MAX_DOWNTIME;
    loop {
        let answer = request(client, Method::POST, service, path)
            .header("idempotency-key", path)
            .json(body)
            .send()
            .await;
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(status) if status < 500 => return status,
            other => assert!(Instant::now() < until, "{service} {path}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn cancel(client: &Client, order: &str) -> u16 {
    let path = format!("/internal/orders/{order}/cancel");
    send(client, "order", &path, &json!({})).await
}

async fn dispatch(client: &Client, order: &str) -> u16 {
    let path = format!("/internal/shipments/{}/dispatch", shipment_of(order));
    let body = json!({"truckId": "TRUCK-7", "dispatchedAt": "2026-01-31T12:00:00Z"});
    send(client, "inventory", &path, &body).await
}

/// A cancellation that is written and not committed is processed again, and kills the service
/// again; one that is committed is recognised.
fn inventory_killed_before_it_acknowledges_a_cancellation_releases_once() -> Result<usize, Failed> {
    let kills = 2;
    for step in STEPS {
        let orders = block_on(place_reserved_orders(SKU, 1, kills))?;
        let setting = exit_at(&format!("{step}/{}", OrderCancelled::TYPE), 1);
        for order in &orders {
            up_with_settings(&[("inventory", setting.clone())]);
            let status = block_on(async { cancel(&client(), order).await });
            assert_eq!(status, 200, "{order}");
            wait_until_ended(&["inventory"])?;
        }
        dm_ok(&["up"])?;
        eventually(&contradictions(&orders), "0")?;
        let list = orders.join("','");
        let released = sql(&format!(
            "SELECT count(*) FROM inventory.reservations
              WHERE status = 'RELEASED' AND order_id IN ('{list}')"
        ))?;
        assert_eq!(released, kills.to_string());
    }
    Ok(STEPS.len() * kills)
}

/// Each order ends as inventory decided, whichever of its requests came first.
fn cancellations_and_dispatches_survive_killed_services() -> Result<usize, Failed> {
    let orders = block_on(place_reserved_orders(SKU, 1, 24))?;
    let requests = {
        let orders = orders.clone();
        std::thread::spawn(move || {
            block_on(async {
                let client = client();
                for order in &orders {
                    let both = tokio::join!(cancel(&client, order), dispatch(&client, order));
                    assert!(matches!(both, (200, 200 | 404) | (409, 200)), "{both:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        })
    };
    let mut random = fastrand::Rng::with_seed(29);
    let rounds = 2;
    for _ in 0..rounds {
        for service in ["inventory", "order"] {
            std::thread::sleep(Duration::from_millis(random.u64(100..600)));
            kill(service)?;
        }
        dm_ok(&["up"])?;
    }
    requests
        .join()
        .map_err(|_| "the thread of the requests panicked")?;
    eventually(&contradictions(&orders), "0")?;
    Ok(2 * rounds)
}
