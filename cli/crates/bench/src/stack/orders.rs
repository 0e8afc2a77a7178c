//! From an order to its reservation.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dm_components::http_client;
use dm_components::service::base_url;
use dm_gateway_client::GATEWAY_SECRET;
use reqwest::Method;
use serde_json::{Value, json};

use super::{BenchStack, Metric, http_load, percentile};
use crate::error::BenchError;

/// Orders a second.
const ORDERS_PER_SECOND: u32 = 50;
/// How many.
const MEASURED_ORDERS: u32 = 250;
/// How many before them, which are not measured: connections, plans, caches.
const WARMUP_ORDERS: u32 = 50;
/// How often the timelines are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How many rows before the last one are looked at again.
const OVERLAP_ROWS: i64 = 40;
/// Each so manieth look is at all rows of the round.
const FULL_SCAN_EVERY: u32 = 20;
/// How long the last one may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What is ordered, one at a time.
const SKU: &str = "PPR-A4-WHT-500";

/// The 99th percentile from the answer until the timeline has `RESERVED`, which is
/// looked at every 10 ms.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>, BenchError> {
    // What is measured is not the shortage.
    sqlx::query(
        "UPDATE inventory.stock SET on_hand = on_hand + $1, received = received + $1
          WHERE sku = $2",
    )
    .bind(i64::from(WARMUP_ORDERS + MEASURED_ORDERS))
    .bind(SKU)
    .execute(&stack.database)
    .await?;
    stack.vacuum_and_checkpoint("inventory.stock").await?;
    run_orders(stack, WARMUP_ORDERS).await?;
    let (placed, reserved) = run_orders(stack, MEASURED_ORDERS).await?;
    let mut took: Vec<f64> = placed
        .iter()
        .filter_map(|(order, at)| {
            let seen = reserved.get(order)?;
            Some(seen.saturating_duration_since(*at).as_secs_f64())
        })
        .collect();
    Ok(vec![(Metric::OrderSlowest, percentile(&mut took, 99.0))])
}

/// Places so many orders. Answers when each was answered, and when each was reserved.
async fn run_orders(
    stack: &BenchStack<'_>,
    orders: u32,
) -> Result<(Vec<(String, Instant)>, HashMap<String, Instant>), BenchError> {
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM orders.order_timeline")
        .fetch_one(&stack.database)
        .await?;
    tokio::try_join!(
        place_orders(stack, orders),
        wait_for_reservations(stack, orders, last)
    )
}

/// Places the orders at the rate, whatever earlier ones take. Answers when each was
/// answered.
async fn place_orders(
    stack: &BenchStack<'_>,
    orders: u32,
) -> Result<Vec<(String, Instant)>, BenchError> {
    let client = http_client()
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: "creating an HTTP client".into(),
            reason: error.to_string(),
        })?;
    let url = format!("{}/internal/orders", base_url("order", stack.ports()));
    let request = client
        .request(Method::POST, &url)
        .header("x-user-id", "jhalpert")
        .header(GATEWAY_SECRET, &stack.endpoints.gateway_secret)
        .json(&json!({
            "clientId": "client_501",
            "requestedShipDate": "2030-01-31",
            "items": [{"sku": SKU, "quantity": 1}],
        }))
        .build()
        .map_err(|error| BenchError::RequestFailed {
            request: format!("POST {url}"),
            reason: error.to_string(),
        })?;
    let began = tokio::time::Instant::now();
    let one = async |number: u32| {
        tokio::time::sleep_until(began + Duration::from_secs(1) * number / ORDERS_PER_SECOND).await;
        let text = http_load::send_request(&client, &request).await?;
        let at = Instant::now();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let id = answer["orderId"].as_str().unwrap_or_default().to_owned();
        Ok::<_, BenchError>((id, at))
    };
    futures_util::future::try_join_all((0..orders).map(one)).await
}

/// Looks at the timelines until every order is reserved. Answers when each was seen.
async fn wait_for_reservations(
    stack: &BenchStack<'_>,
    orders: u32,
    before: i64,
) -> Result<HashMap<String, Instant>, BenchError> {
    let until = Instant::now() + TIMEOUT;
    let (mut last, mut looks) = (before, 0_u32);
    let mut seen = HashMap::new();
    while seen.len() < orders as usize {
        if Instant::now() > until {
            return Err(BenchError::Timeout {
                reason: format!("{} of {orders} orders were reserved", seen.len()),
                timeout: TIMEOUT,
            });
        }
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT id, order_id FROM orders.order_timeline
              WHERE id > $1 AND status = 'RESERVED'",
        )
        // Numbers become visible in another order than they were given: some are looked
        // at again each time, and all of them now and then.
        .bind(if looks.is_multiple_of(FULL_SCAN_EVERY) {
            before
        } else {
            before.max(last - OVERLAP_ROWS)
        })
        .fetch_all(&stack.database)
        .await?;
        looks += 1;
        let now = Instant::now();
        for (id, order) in rows {
            last = last.max(id);
            seen.entry(order).or_insert(now);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(seen)
}
