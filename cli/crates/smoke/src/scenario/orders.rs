//! Orders and their timelines.

use dm_gateway_client::Fault;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{PATIENCE, SKU, World, eventually};
use crate::MARK;

fn order(client: &str, quantity: i64) -> Value {
    json!({
        "clientId": client,
        "requestedShipDate": "2030-01-31",
        "items": [{"sku": SKU, "quantity": quantity}],
        "notes": MARK,
    })
}

pub(super) async fn order_is_placed(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let broken = seller
        .post("/api/v1/orders")
        .json(&json!({"items": [{"sku": "", "quantity": 0}]}))
        .expect(400)
        .await?;
    broken.has("/error/message", "Order request validation failed")?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order(&world.client, 3))
        .expect(201)
        .await?;
    placed.has("/status", "CREATED")?;
    let order = placed.text_at("/orderId")?;
    // Once, right after the answer, as the sales page does.
    let list = seller
        .get(&format!("/api/v1/orders?clientId={}", world.client))
        .expect(200)
        .await?;
    let listed = list.listed("orderId", &order)?;
    if listed["status"] != "CREATED" {
        return Err(list.fault("a new order must still be CREATED when listed at once"));
    }
    world.shipment = format!("ship_{}", order.trim_start_matches("ord_"));
    world.order = order;
    Ok(())
}

pub(super) async fn timeline_streams(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let path = format!("/api/v1/orders/{}/timeline/stream", world.order);
    let stream = seller.get(&path).open().await?;
    let mut body = stream.bytes_stream();
    let mut text = String::new();
    let reading = async {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| Fault::new(format!("the stream broke: {error}")))?;
            text.push_str(&String::from_utf8_lossy(&chunk));
            if ["event: timeline", "CREATED", "RESERVED"]
                .iter()
                .all(|part| text.contains(part))
            {
                return Ok(());
            }
        }
        Err(Fault::new("the stream ended"))
    };
    match timeout(PATIENCE, reading).await {
        Ok(read) => read,
        Err(_) => Err(Fault::new(format!(
            "RESERVED was not streamed within {} s; the stream said: {text}",
            PATIENCE.as_secs()
        ))),
    }
}

pub(super) async fn order_is_shipped(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let path = format!("/api/v1/orders/{}", world.order);
    eventually(
        async || seller.get(&path).expect(200).await,
        |order| {
            order
                .has("/status", "SHIPPED")?
                .has("/shipmentId", world.shipment.as_str())
                .map(drop)
        },
    )
    .await?;
    let timeline = seller.get(&format!("{path}/timeline")).expect(200).await?;
    let body = timeline.json()?;
    let events: Vec<&str> = body["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|event| event["status"].as_str())
        .collect();
    for status in ["CREATED", "RESERVED", "SHIPPED"] {
        if events.iter().filter(|event| **event == status).count() != 1 {
            return Err(timeline.fault(format!("the timeline has not exactly one {status}")));
        }
    }
    Ok(())
}

pub(super) async fn order_without_stock_fails(world: &mut World) -> Result<(), Fault> {
    let seller = world.seller()?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order(&world.client, 900_000_000))
        .expect(201)
        .await?;
    let order = placed.text_at("/orderId")?;
    let path = format!("/api/v1/orders/{order}");
    eventually(
        async || seller.get(&path).expect(200).await,
        |order| order.has("/status", "FAILED_INSUFFICIENT_STOCK").map(drop),
    )
    .await?;
    let shipment = format!("ship_{}", order.trim_start_matches("ord_"));
    let list = world
        .phone()?
        .get("/api/v1/warehouse/shipments?status=PENDING")
        .expect(200)
        .await?;
    if list.item("shipmentId", &shipment)?.is_some() {
        return Err(list.fault("a shipment without stock is still to be shipped"));
    }
    Ok(())
}
