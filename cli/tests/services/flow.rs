//! The business flow, and what holds in a crowd.

use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::stack::{block_on, client, dm, eventually, ok, request, sql};

/// From a lead to a notification, three times, with the report that a job keeps.
pub(crate) fn smoke() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("smoke.xml");
    let output = dm(&[
        "smoke",
        "--repeat",
        "3",
        "--json",
        "--junit",
        file.to_str().unwrap(),
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(told.into());
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["ok"], true);
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(3));
    let xml = std::fs::read_to_string(file)?;
    assert!(xml.contains("failures=\"0\""), "{xml}");
    assert!(xml.contains("an order is placed (run 3)"), "{xml}");
    Ok(())
}

/// A plan for one service has its servers and no other service.
pub(crate) fn only() -> Result<(), Failed> {
    let plan: Value =
        serde_json::from_str(&ok(&["up", "--dry-run", "--json", "--only", "order"])?)?;
    let mut named: Vec<&str> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["node"].as_str())
        .collect();
    // A node of its own: whatever it is called, it is no service.
    named.retain(|name| *name != "database" && !name.ends_with(" image"));
    named.sort_unstable();
    assert_eq!(named, ["order", "postgres", "rabbitmq"]);
    Ok(())
}

/// Places an order and answers its id.
pub(crate) async fn place(client: &Client, sku: &str, quantity: i64) -> String {
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

/// Forty orders at once for what is there twenty-three times.
pub(crate) fn rush() -> Result<(), Failed> {
    sql(
        "INSERT INTO inventory.products (sku, name, category, unit, price)
         SELECT 'PPR-TEST-RUSH', 'Paper in a rush', category, unit, price
           FROM inventory.products LIMIT 1
         ON CONFLICT DO NOTHING;
         INSERT INTO inventory.stock (sku, on_hand, received) VALUES ('PPR-TEST-RUSH', 23, 23)
         ON CONFLICT DO NOTHING",
    )?;
    block_on(async {
        let client = client();
        let placed = (0..40).map(|_| place(&client, "PPR-TEST-RUSH", 1));
        futures_util::future::join_all(placed).await;
    });
    let of = |status| {
        format!(
            "SELECT count(*) FROM orders.orders
              WHERE status = '{status}' AND items @> '[{{\"sku\":\"PPR-TEST-RUSH\"}}]'"
        )
    };
    eventually(&of("RESERVED"), "23")?;
    eventually(&of("FAILED_INSUFFICIENT_STOCK"), "17")?;
    let stock = "SELECT on_hand, reserved FROM inventory.stock WHERE sku = 'PPR-TEST-RUSH'";
    assert_eq!(sql(stock)?, "23|23");
    Ok(())
}

/// Twenty dispatches at once with one key: one effect and one answer.
pub(crate) fn one_key() -> Result<(), Failed> {
    let order = block_on(async { place(&client(), "PPR-A4-WHT-500", 2).await });
    let shipment = order.replace("ord_", "ship_");
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
