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

use super::{Figure, Stack};
use crate::error::BenchError;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// After a restart of the broker, and of the database: from when it answers until an
/// order that is then placed has its reservation.
pub(super) async fn measure(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    let mut figures = Vec::new();
    for (component, figure) in [
        ("rabbitmq", Figure::BrokerRecovery),
        ("postgres", Figure::DatabaseRecovery),
    ] {
        let container = stack.container(component);
        let engine = stack.engine();
        engine.kill(&container, "SIGKILL").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.start(&container).await?;
        ready(stack, component).await?;
        let began = Instant::now();
        let order = placed(stack).await?;
        reserved(stack, &order).await?;
        figures.push((figure, began.elapsed().as_secs_f64()));
    }
    Ok(figures)
}

/// Waits until a server answers what it is there for.
async fn ready(stack: &Stack<'_>, component: &str) -> Result<(), BenchError> {
    let options = postgres::connect_options(&stack.config().postgres, stack.ports());
    let answers = async || match component {
        "rabbitmq" => match broker::connect(&stack.broker).await {
            Ok(connection) => {
                let all = dm_contracts::topology::WORK_QUEUES;
                let there = queues::depths(&connection, &all).await.is_ok();
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
    let until = Instant::now() + PATIENCE;
    while !answers().await {
        if Instant::now() > until {
            return Err(BenchError::Missing {
                what: format!("{component} was not available again"),
                patience: PATIENCE,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Places an order, as soon as the service takes one.
async fn placed(stack: &Stack<'_>) -> Result<String, BenchError> {
    let refused = |error: reqwest::Error| BenchError::Request {
        request: "POST /internal/orders".into(),
        what: error.to_string(),
    };
    let client = http_client().build().map_err(refused)?;
    let url = format!("{}/internal/orders", base_url("order", stack.ports()));
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client
            .request(Method::POST, &url)
            .header("x-user-id", "jhalpert")
            .header(GATEWAY_SECRET, &stack.site.gateway_secret)
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
            return Err(BenchError::Missing {
                what: "no order was accepted".into(),
                patience: PATIENCE,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn reserved(stack: &Stack<'_>, order: &str) -> Result<(), BenchError> {
    let until = Instant::now() + PATIENCE;
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
            return Err(BenchError::Missing {
                what: format!("order {order} is not reserved"),
                patience: PATIENCE,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}
