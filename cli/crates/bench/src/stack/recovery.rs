//! From a server that is ready again to an order that is through.

use std::time::{Duration, Instant};

use dm_components::http_client;
use dm_components::postgres;
use dm_components::service::base_url;
use dm_core::error::Result;
use dm_gateway_client::GATEWAY_SECRET;
use dm_messaging::{broker, queues};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{BenchStack, Metric};
use crate::error::BenchError;

/// How long anything may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often something is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// After a restart of the broker, and of the database: from when it answers until an
/// order that is then placed has its reservation.
pub(super) async fn measure(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let mut figures = Vec::new();
    for (component, figure) in [
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
        figures.push((figure, began.elapsed().as_secs_f64()));
    }
    Ok(figures)
}

/// Waits until a server answers what it is there for.
async fn wait_until_ready(stack: &BenchStack<'_>, component: &str) -> Result<(), BenchError> {
    let options = postgres::superuser_connect_options(&stack.config().postgres, stack.ports());
    let answers = async || match component {
        "rabbitmq" => match broker::connect(&stack.broker_uri).await {
            Ok(connection) => {
                let all = dm_contracts::topology::WORK_QUEUES;
                let there = queues::load_depths(&connection, &all).await.is_ok();
                // It was only asked.
                let _ = connection.close(200, "done".into()).await;
                there
            }
            Err(_) => false,
        },
        _ => match PgConnection::connect_with(&options).await {
            Ok(session) => session.close().await.is_ok(),
            Err(_) => false,
        },
    };
    let until = Instant::now() + TIMEOUT;
    while !answers().await {
        if Instant::now() > until {
            return Err(BenchError::Timeout {
                reason: format!("{component} was not available again"),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Places an order, as soon as the service takes one.
async fn place_order(stack: &BenchStack<'_>) -> Result<String, BenchError> {
    let refused = |error: reqwest::Error| BenchError::RequestFailed {
        request: "POST /internal/orders".into(),
        reason: error.to_string(),
    };
    let client = http_client().build().map_err(refused)?;
    let url = format!("{}/internal/orders", base_url("order", stack.ports()));
    let until = Instant::now() + TIMEOUT;
    loop {
        let answer = client
            .request(Method::POST, &url)
            .header("x-user-id", "jhalpert")
            .header(GATEWAY_SECRET, &stack.endpoints.gateway_secret)
            .json(&json!({
                "clientId": "client_501",
                "requestedShipDate": "2030-01-31",
                "items": [{"sku": "PPR-A4-WHT-500", "quantity": 1}],
            }))
            .send()
            .await;
        if let Ok(answer) = answer
            && answer.status() == 201
        {
            let body: Value = answer.json().await.map_err(refused)?;
            return Ok(body["orderId"].as_str().unwrap_or_default().to_owned());
        }
        if Instant::now() > until {
            return Err(BenchError::Timeout {
                reason: "no order was accepted".into(),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn wait_until_reserved(stack: &BenchStack<'_>, order: &str) -> Result<(), BenchError> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let status: Option<String> =
            sqlx::query_scalar("SELECT status FROM orders.orders WHERE order_id = $1")
                .bind(order)
                .fetch_optional(&stack.database)
                .await?;
        if status.as_deref() == Some("RESERVED") {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(BenchError::Timeout {
                reason: format!("order {order} is not reserved"),
                timeout: TIMEOUT,
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
