//! Tests of the business flow, and of concurrent requests.

use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::stack::{block_on, client, dm, dm_ok, eventually, request, sql};

/// The smoke test runs from a lead to a notification, three times, and writes a JUnit report.
pub(crate) fn smoke_repeated_passes_every_run_and_writes_junit() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("smoke.xml");
    let output = dm(&[
        "smoke",
        "--repeat",
        "3",
        "--json",
        "--junit",
        file.to_str().unwrap(),
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(stderr.into());
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["ok"], true);
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(3));
    let xml = std::fs::read_to_string(file)?;
    assert!(xml.contains("failures=\"0\""), "{xml}");
    assert!(xml.contains("an order is placed (run 3)"), "{xml}");
    Ok(())
}

/// A plan for one service contains its servers and no other service.
pub(crate) fn up_only_one_service_plans_its_servers_and_no_other_service() -> Result<(), Failed> {
    let plan: Value =
        serde_json::from_str(&dm_ok(&["up", "--dry-run", "--json", "--only", "order"])?)?;
    let mut nodes: Vec<&str> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["node"].as_str())
        .collect();
    // Image nodes and the database setup are not components.
    nodes.retain(|name| *name != "database" && !name.ends_with(" image"));
    nodes.sort_unstable();
    assert_eq!(nodes, ["order", "postgres", "rabbitmq"]);
    Ok(())
}

/// Places an order and returns its id.
pub(crate) async fn place_order(client: &Client, sku: &str, quantity: i64) -> String {
    let answer = request(client, Method::POST, "order", "/internal/orders")
        .json(&json!({
            "clientId": "client_501",
            "requestedShipDate": "2030-01-31",
            "items": [{"sku": sku, "quantity": quantity}],
        }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let body: Value = answer.json().await.unwrap();
    body["orderId"].as_str().unwrap().to_owned()
}

/// Places orders at the same time, waits until their stock is reserved, and returns their ids.
pub(crate) async fn place_reserved_orders(
    sku: &str,
    quantity: i64,
    count: usize,
) -> Result<Vec<String>, Failed> {
    let client = client();
    let placed = (0..count).map(|_| place_order(&client, sku, quantity));
    let orders = futures_util::future::join_all(placed).await;
    let list = orders.join("','");
    eventually(
        &format!(
            "SELECT count(*) FROM orders.orders
              WHERE status = 'RESERVED' AND order_id IN ('{list}')"
        ),
        &count.to_string(),
    )?;
    Ok(orders)
}

/// Returns the id of the shipment of an order.
pub(crate) fn shipment_of(order: &str) -> String {
    order.replace("ord_", "ship_")
}

/// 40 concurrent orders for a product of which 23 are in stock.
pub(crate) fn concurrent_orders_reserve_no_more_than_the_stock() -> Result<(), Failed> {
    sql(
        "INSERT INTO inventory.products (sku, name, category, unit, price)
         SELECT 'PPR-TEST-RUSH', 'Paper for concurrent orders', category, unit, price
           FROM inventory.products LIMIT 1
         ON CONFLICT DO NOTHING;
         INSERT INTO inventory.stock (sku, on_hand, received) VALUES ('PPR-TEST-RUSH', 23, 23)
         ON CONFLICT DO NOTHING",
    )?;
    block_on(async {
        let client = client();
        let placed = (0..40).map(|_| place_order(&client, "PPR-TEST-RUSH", 1));
        futures_util::future::join_all(placed).await;
    });
    let orders_with_status = |status| {
        format!(
            "SELECT count(*) FROM orders.orders
              WHERE status = '{status}' AND items @> '[{{\"sku\":\"PPR-TEST-RUSH\"}}]'"
        )
    };
    eventually(&orders_with_status("RESERVED"), "23")?;
    eventually(&orders_with_status("FAILED_INSUFFICIENT_STOCK"), "17")?;
    let stock = "SELECT on_hand, reserved FROM inventory.stock WHERE sku = 'PPR-TEST-RUSH'";
    assert_eq!(sql(stock)?, "23|23");
    Ok(())
}

/// 20 concurrent dispatches with one key have one effect and the same answer.
pub(crate) fn concurrent_dispatches_with_one_idempotency_key_have_one_effect() -> Result<(), Failed>
{
    let order = block_on(async { place_order(&client(), "PPR-A4-WHT-500", 2).await });
    let shipment = shipment_of(&order);
    eventually(
        &format!("SELECT count(*) FROM inventory.shipments WHERE shipment_id = '{shipment}'"),
        "1",
    )?;
    let answers = block_on(async {
        let client = client();
        let path = format!("/internal/shipments/{shipment}/dispatch");
        let calls = (0..20).map(|_| {
            let call = request(&client, Method::POST, "inventory", &path)
                .header("idempotency-key", "wm_dispatch_twenty")
                .json(&json!({"truckId": "truck_1", "dispatchedAt": "2026-01-31T12:00:00Z"}))
                .send();
            async move { call.await.unwrap().text().await.unwrap() }
        });
        futures_util::future::join_all(calls).await
    });
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:#?}"
    );
    assert!(
        answers[0].contains("\"alreadyDispatched\":false"),
        "{}",
        answers[0]
    );
    let events = format!(
        "SELECT count(*) FROM inventory.outbox_events
          WHERE subject = 'shipment/{shipment}' AND routing_key = 'shipment.dispatched.v1'"
    );
    assert_eq!(sql(&events)?, "1");
    eventually(
        &format!("SELECT status FROM orders.orders WHERE order_id = '{order}'"),
        "SHIPPED",
    )
}
