//! A load of orders, dispatches and expenses that continues during a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Failed;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::super::stack::{block_on, request};

/// The products that are ordered. There are few, so that events in different lanes of a consumer
/// update the same stock.
const SKUS: [&str; 4] = [
    "PPR-A4-WHT-500",
    "PPR-A4-PNK-500",
    "RLL-PLT-036-002",
    "PPR-LTR-WHT-500",
];

/// The pause between two orders.
const PACE: Duration = Duration::from_millis(30);

/// A running load. It ends when it is stopped or dropped, so that a failed test does not leave
/// its load to later tests.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Accepted>>,
}

/// The requests that the services accepted.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// The ids of the orders.
    pub orders: Vec<String>,
    /// The ids of the expenses.
    pub expenses: Vec<String>,
    /// The number of requests with another answer or none.
    pub refused: u32,
}

impl Load {
    pub(super) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_flag = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || block_on(run_load(&stop_flag))));
        Self { stop, thread }
    }

    /// Stops the load and waits for the answers to its requests.
    pub(super) fn end(mut self) -> Result<Accepted, Failed> {
        self.join()
            .ok_or_else(|| "the thread of the load panicked".into())
    }

    fn join(&mut self) -> Option<Accepted> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

async fn run_load(stop: &AtomicBool) -> Accepted {
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let (mut accepted, mut number) = (Accepted::default(), 0_usize);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let order = json!({
            "clientId": "client_501", "requestedShipDate": "2030-01-31",
            "items": [{"sku": SKUS[number % SKUS.len()], "quantity": 1}],
        });
        let order = create(&client, "order", "/internal/orders", &order, "orderId").await;
        // A shipment has the number of its order. It may not exist yet.
        let earlier = accepted.orders.len().checked_sub(5);
        let earlier = earlier.map(|at| accepted.orders[at].replace("ord_", "ship_"));
        record(order, &mut accepted.orders, &mut accepted.refused);
        if let Some(shipment) = earlier.filter(|_| number.is_multiple_of(2)) {
            dispatch(&client, &shipment).await;
        }
        if number.is_multiple_of(4) {
            let expense = json!({
                "submitterUserId": "jhalpert", "category": "Travel", "amount": 12.5,
                "currency": "USD", "description": "fuel",
            });
            let expense = create(
                &client,
                "finance",
                "/internal/expenses",
                &expense,
                "expenseId",
            )
            .await;
            record(expense, &mut accepted.expenses, &mut accepted.refused);
            if let Some(expense) = accepted.expenses.last() {
                let path = format!("/internal/expenses/{expense}/decision");
                let decision = json!({"decision": "APPROVED"});
                let _ = request(&client, Method::POST, "finance", &path)
                    .json(&decision)
                    .send()
                    .await;
            }
        }
        tokio::time::sleep(PACE).await;
    }
    accepted
}

fn record(id: Option<String>, ids: &mut Vec<String>, refused: &mut u32) {
    match id {
        Some(id) => ids.push(id),
        None => *refused += 1,
    }
}

async fn create(
    client: &Client,
    service: &str,
    path: &str,
    body: &Value,
    key: &str,
) -> Option<String> {
    let answer = request(client, Method::POST, service, path)
        .json(body)
        .send()
        .await;
    let answer = answer
        .ok()
        .filter(|answer| answer.status() == StatusCode::CREATED)?;
    let body: Value = answer.json().await.ok()?;
    Some(body[key].as_str()?.to_owned())
}

async fn dispatch(client: &Client, shipment: &str) {
    let path = format!("/internal/shipments/{shipment}/dispatch");
    let body = json!({
        "truckId": "TRUCK-7",
        "dispatchedAt": dm_contracts::time::format(dm_contracts::time::now()),
    });
    let _ = request(client, Method::POST, "inventory", &path)
        .header("Idempotency-Key", format!("fault_{shipment}"))
        .json(&body)
        .send()
        .await;
}
