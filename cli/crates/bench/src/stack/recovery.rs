//! Measures the time from the return of a server to a reserved order.

use std::time::{Duration, Instant};

use dm_components::http_client;
use dm_components::postgres;
use dm_components::service::base_url;
use dm_contracts::headers;
use dm_core::error::Result;
use dm_gateway_client::GATEWAY_SECRET;
use dm_messaging::{broker, queues};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{BenchStack, Metric};
use crate::error::BenchError;

/// The timeout of each wait.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The interval between checks.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Kills and restarts the broker, then the database. Measures the time from the first response of
/// the server until a new order is reserved.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let mut metrics = Vec::new();
    for (component, metric) in [
        ("rabbitmq", Metric::BrokerRecovery),
        ("postgres", Metric::DatabaseRecovery),
    ] {
        let container = stack.container(component);
        let engine = stack.engine();
        engine.kill_container(&container, "SIGKILL").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.start_container(&container).await?;
        wait_until_ready(stack, component).await?;
        let began = Instant::now();
        let order = place_order(stack).await?;
        wait_until_reserved(stack, &order).await?;
        metrics.push((metric, began.elapsed().as_secs_f64()));
    }
    Ok(metrics)
}

/// Waits until a server responds to a request over its protocol.
async fn wait_until_ready(stack: &BenchStack<'_>, component: &str) -> Result<(), BenchError> {
    let options = postgres::superuser_connect_options(&stack.config().postgres, stack.ports());
    let is_ready = async || match component {
        "rabbitmq" => match broker::connect(&stack.broker_uri).await {
            Ok(connection) => {
                let queues = dm_contracts::topology::EVENT_QUEUES;
                let is_ready = queues::load_depths(&connection, &queues).await.is_ok();
                // An error of the close does not matter.
                let _ = connection.close(200, "done".into()).await;
                is_ready
            }
            Err(_) => false,
        },
        _ => match PgConnection::connect_with(&options).await {
            Ok(session) => session.close().await.is_ok(),
            Err(_) => false,
        },
    };
    let deadline = Instant::now() + TIMEOUT;
    while !is_ready().await {
        if Instant::now() > deadline {
            return Err(BenchError::Timeout {
                reason: format!("{component} was not available again"),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Places an order as soon as the service accepts one.
async fn place_order(stack: &BenchStack<'_>) -> Result<String, BenchError> {
    let request_failed = |error: reqwest::Error| BenchError::RequestFailed {
        request: "POST /internal/orders".into(),
        reason: error.to_string(),
    };
    let client = http_client().build().map_err(request_failed)?;
    let url = format!("{}/internal/orders", base_url("order", stack.ports()));
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let response = client
            .request(Method::POST, &url)
            .header(headers::USER_ID, "jhalpert")
            .header(GATEWAY_SECRET, &stack.endpoints.gateway_secret)
            .json(&json!({
                "clientId": "client_501",
                "requestedShipDate": "2030-01-31",
                "items": [{"sku": "PPR-A4-WHT-500", "quantity": 1}],
            }))
            .send()
            .await;
        if let Ok(response) = response
            && response.status() == 201
        {
            let body: Value = response.json().await.map_err(request_failed)?;
            return Ok(body["orderId"].as_str().unwrap_or_default().to_owned());
        }
        if Instant::now() > deadline {
            return Err(BenchError::Timeout {
                reason: "no order was accepted".into(),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn wait_until_reserved(stack: &BenchStack<'_>, order: &str) -> Result<(), BenchError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let status: Option<String> =
            sqlx::query_scalar("SELECT status FROM orders.orders WHERE order_id = $1")
                .bind(order)
                .fetch_optional(&stack.database)
                .await?;
        if status.as_deref() == Some("RESERVED") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(BenchError::Timeout {
                reason: format!("order {order} is not reserved"),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
