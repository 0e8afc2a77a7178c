//! Orders and their timelines.

use dm_contracts::validation::MAX_CANCEL_REASON_LENGTH;
use dm_gateway_client::{RequestFailure, TracedResponse, find_page};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{EVENT_TIMEOUT, SKU, ScenarioState, eventually};
use crate::DATA_MARKER;

pub(super) fn order_body(client: &str, quantity: i64) -> Value {
    json!({
        "clientId": client,
        "requestedShipDate": "2030-01-31",
        "items": [{"sku": SKU, "quantity": quantity}],
        "notes": DATA_MARKER,
    })
}

pub(super) async fn order_is_placed(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let invalid = seller
        .post("/api/v1/orders")
        .json(&json!({"items": [{"sku": "", "quantity": 0}]}))
        .expect_status(400)
        .await?;
    invalid.expect_value("/error/message", "Order request validation failed")?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order_body(&state.client_id, 3))
        .expect_status(201)
        .await?;
    placed.expect_value("/status", "CREATED")?;
    let order = placed.string_at("/orderId")?;
    // Only once, right after the response, like the sales page.
    let list = seller
        .get(&format!("/api/v1/orders?clientId={}", state.client_id))
        .expect_status(200)
        .await?;
    let listed = list.expect_item("orderId", &order)?;
    if listed["status"] != "CREATED" {
        return Err(list.failure("a new order must still be CREATED when listed at once"));
    }
    state.shipment_id = format!("ship_{}", order.trim_start_matches("ord_"));
    state.order_id = order;
    Ok(())
}

pub(super) async fn timeline_streams(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let path = format!("/api/v1/orders/{}/timeline/stream", state.order_id);
    let stream = seller.get(&path).open_stream().await?;
    let mut body = stream.bytes_stream();
    let mut text = String::new();
    let reading = async {
        while let Some(chunk) = body.next().await {
            let chunk =
                chunk.map_err(|error| RequestFailure::new(format!("the stream broke: {error}")))?;
            text.push_str(&String::from_utf8_lossy(&chunk));
            if ["event: timeline", "CREATED", "RESERVED"]
                .iter()
                .all(|part| text.contains(part))
            {
                return Ok(());
            }
        }
        Err(RequestFailure::new("the stream ended"))
    };
    match timeout(EVENT_TIMEOUT, reading).await {
        Ok(result) => result,
        Err(_) => Err(RequestFailure::new(format!(
            "RESERVED was not streamed within {} s; the stream contained: {text}",
            EVENT_TIMEOUT.as_secs()
        ))),
    }
}

pub(super) async fn order_is_shipped(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let path = format!("/api/v1/orders/{}", state.order_id);
    eventually(
        async || seller.get(&path).expect_status(200).await,
        |order| {
            order
                .expect_value("/status", "SHIPPED")?
                .expect_value("/shipmentId", state.shipment_id.as_str())
                .map(drop)
        },
    )
    .await?;
    let timeline = format!("{path}/timeline");
    // The events of the scan and of the dispatch may arrive in any order.
    eventually(
        async || seller.get(&timeline).expect_status(200).await,
        |timeline| {
            ["CREATED", "RESERVED", "PICKING", "SHIPPED"]
                .into_iter()
                .try_for_each(|status| expect_once(timeline, status))
        },
    )
    .await
}

/// Checks that a timeline has a status exactly once.
fn expect_once(timeline: &TracedResponse, status: &str) -> Result<(), RequestFailure> {
    let body = timeline.json()?;
    let events = body["events"].as_array().into_iter().flatten();
    match events.filter(|event| event["status"] == status).count() {
        1 => Ok(()),
        _ => Err(timeline.failure(format!("the timeline has not exactly one {status}"))),
    }
}

pub(super) async fn order_is_cancelled(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order_body(&state.client_id, 2))
        .expect_status(201)
        .await?;
    let order = placed.string_at("/orderId")?;
    let path = format!("/api/v1/orders/{order}");
    eventually(
        async || seller.get(&path).expect_status(200).await,
        |order| order.expect_value("/status", "RESERVED").map(drop),
    )
    .await?;
    let cancel = format!("{path}/cancel");
    let invalid = seller
        .post(&cancel)
        .json(&json!({"reason": "x".repeat(MAX_CANCEL_REASON_LENGTH + 1)}))
        .expect_status(400)
        .await?;
    invalid.expect_value("/error/message", "Cancel request validation failed")?;
    let first = seller
        .post(&cancel)
        .json(&json!({"reason": DATA_MARKER}))
        .expect_status(200)
        .await?;
    first
        .expect_value("/status", "CANCELLED")?
        .expect_value("/cancelledBy", "jhalpert")?
        .expect_value("/cancelReason", DATA_MARKER)?;
    let again = seller.post(&cancel).expect_status(200).await?;
    if first.json()? != again.json()? {
        return Err(again.failure("a repeated cancellation returned a different response"));
    }
    let detail = seller.get(&path).expect_status(200).await?;
    detail.expect_value("/status", "CANCELLED")?;
    let timeline = seller
        .get(&format!("{path}/timeline"))
        .expect_status(200)
        .await?;
    expect_once(&timeline, "CANCELLED")?;
    let shipped = seller
        .post(&format!("/api/v1/orders/{}/cancel", state.order_id))
        .expect_status(409)
        .await?;
    shipped.expect_value("/error/code", "ORDER_ALREADY_SHIPPED")?;
    state.cancelled_order_id = order;
    Ok(())
}

pub(super) async fn order_without_stock_fails(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let placed = seller
        .post("/api/v1/orders")
        .json(&order_body(&state.client_id, 900_000_000))
        .expect_status(201)
        .await?;
    let order = placed.string_at("/orderId")?;
    let path = format!("/api/v1/orders/{order}");
    eventually(
        async || seller.get(&path).expect_status(200).await,
        |order| {
            order
                .expect_value("/status", "FAILED_INSUFFICIENT_STOCK")
                .map(drop)
        },
    )
    .await?;
    let shipment = format!("ship_{}", order.trim_start_matches("ord_"));
    let worker = state.warehouse_worker()?;
    let path = "/api/v1/warehouse/shipments?status=PENDING";
    let list = find_page(path, |path| worker.get(path), "shipmentId", &shipment).await?;
    if list.find_item("shipmentId", &shipment)?.is_some() {
        return Err(list.failure("a shipment without stock is still to be shipped"));
    }
    Ok(())
}
