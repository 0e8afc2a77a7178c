//! Measures the time from an order to its reservation.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dm_components::service::base_url;
use dm_contracts::headers;
use dm_gateway_client::GATEWAY_SECRET;
use reqwest::Method;
use serde_json::{Value, json};

use super::{BenchStack, Metric, http_load, percentile};
use crate::error::BenchError;

/// The rate of orders, per second.
const ORDERS_PER_SECOND: u32 = 50;
/// The number of measured orders.
const MEASURED_ORDERS: u32 = 250;
/// The number of orders before them, which warm up connections, plans and caches.
const WARMUP_ORDERS: u32 = 50;
/// The interval between queries of the timelines.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The number of rows before the last one that are queried again.
const OVERLAP_ROWS: i64 = 40;
/// The number of queries after which one query reads all rows of the round.
const FULL_SCAN_EVERY: u32 = 20;
/// The timeout for the reservation of all orders.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The ordered product, one per order.
const SKU: &str = "PPR-A4-WHT-500";

/// Measures the 99th percentile of the time from the response until the timeline has `RESERVED`,
/// which is queried every 10 ms.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>, BenchError> {
    // Shortages are not measured.
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
    let mut latencies: Vec<f64> = placed
        .iter()
        .filter_map(|(order, placed_at)| {
            let reserved_at = reserved.get(order)?;
            Some(
                reserved_at
                    .saturating_duration_since(*placed_at)
                    .as_secs_f64(),
            )
        })
        .collect();
    Ok(vec![(
        Metric::OrderReservationP99,
        percentile(&mut latencies, 99.0),
    )])
}

/// Places orders. Returns the times of their responses and of their reservations.
async fn run_orders(
    stack: &BenchStack<'_>,
    orders: u32,
) -> Result<(Vec<(String, Instant)>, HashMap<String, Instant>), BenchError> {
    let last_id: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM orders.order_timeline")
        .fetch_one(&stack.database)
        .await?;
    tokio::try_join!(
        place_orders(stack, orders),
        wait_for_reservations(stack, orders, last_id)
    )
}

/// Places the orders at the fixed rate, independent of earlier ones. Returns the times of the
/// responses.
async fn place_orders(
    stack: &BenchStack<'_>,
    orders: u32,
) -> Result<Vec<(String, Instant)>, BenchError> {
    let client = http_load::build_client()?;
    let url = format!("{}/internal/orders", base_url("order", stack.ports()));
    let request = client
        .request(Method::POST, &url)
        .header(headers::USER_ID, "jhalpert")
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
    let place = async |number: u32| {
        tokio::time::sleep_until(began + Duration::from_secs(1) * number / ORDERS_PER_SECOND).await;
        let text = http_load::send_request(&client, &request).await?;
        let placed_at = Instant::now();
        let response: Value = serde_json::from_str(&text).unwrap_or_default();
        let id = response["orderId"].as_str().unwrap_or_default().to_owned();
        Ok::<_, BenchError>((id, placed_at))
    };
    futures_util::future::try_join_all((0..orders).map(place)).await
}

/// Queries the timelines until every order is reserved. Returns the times of the reservations.
async fn wait_for_reservations(
    stack: &BenchStack<'_>,
    orders: u32,
    first_id: i64,
) -> Result<HashMap<String, Instant>, BenchError> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut last_id, mut queries) = (first_id, 0_u32);
    let mut reserved = HashMap::new();
    while reserved.len() < orders as usize {
        if Instant::now() > deadline {
            return Err(BenchError::Timeout {
                reason: format!("{} of {orders} orders were reserved", reserved.len()),
                timeout: TIMEOUT,
            });
        }
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT id, order_id FROM orders.order_timeline
              WHERE id > $1 AND status = 'RESERVED'",
        )
        // Ids become visible in another order than they were assigned: some rows are queried
        // again each time, and periodically all of them.
        .bind(if queries.is_multiple_of(FULL_SCAN_EVERY) {
            first_id
        } else {
            first_id.max(last_id - OVERLAP_ROWS)
        })
        .fetch_all(&stack.database)
        .await?;
        queries += 1;
        let now = Instant::now();
        for (id, order) in rows {
            last_id = last_id.max(id);
            reserved.entry(order).or_insert(now);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(reserved)
}
