//! Shipments.

use dm_gateway_client::{
    BearerClient, IDEMPOTENCY_KEY, RequestFailure, TracedResponse, new_trace_id,
};
use serde_json::json;

use super::{SKU, ScenarioState, eventually};

pub(super) async fn shipment_is_pending(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    state.warehouse_worker = Some(BearerClient::sign_in(&state.endpoints, "dphilbin").await?);
    let shipment = state.shipment_id.clone();
    eventually(
        async || {
            state
                .warehouse_worker()?
                .get("/api/v1/warehouse/shipments?status=PENDING")
                .expect_status(200)
                .await
        },
        |list| list.expect_item("shipmentId", &shipment).map(drop),
    )
    .await
}

pub(super) async fn shipment_is_scanned(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let path = format!("/api/v1/warehouse/shipments/{}/scan", state.shipment_id);
    let scan = json!({"barcode": format!("SKU:{SKU}"), "quantity": 3});
    let invalid = state
        .warehouse_worker()?
        .post(&path)
        .json(&json!({"barcode": " ", "quantity": 0}))
        .expect_status(400)
        .await?;
    invalid.expect_value("/error/message", "Scan payload validation failed")?;
    let key = format!("wm_scan_{}", new_trace_id());
    let first = state
        .warehouse_worker()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&scan)
        .expect_status(200)
        .await?;
    first
        .expect_value("/status", "LOADING")?
        .expect_value("/lastScan/scannedBy", "dphilbin")?;
    let again = state
        .warehouse_worker()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&scan)
        .expect_status(200)
        .await?;
    expect_same_body(&first, &again)
}

pub(super) async fn shipment_is_dispatched(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let path = format!("/api/v1/warehouse/shipments/{}/dispatch", state.shipment_id);
    let body = json!({
        "truckId": "truck_scr_03",
        "dispatchedAt": dm_contracts::time::format(dm_contracts::time::now()),
    });
    let missing = state
        .warehouse_worker()?
        .post(&path)
        .json(&body)
        .expect_status(400)
        .await?;
    missing.expect_value("/error/message", "Idempotency-Key header is required")?;
    let key = format!("wm_dispatch_{}", new_trace_id());
    let first = state
        .warehouse_worker()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&body)
        .expect_status(200)
        .await?;
    first
        .expect_value("/shipmentStatus", "DISPATCHED")?
        .expect_value("/orderId", state.order_id.as_str())?
        .expect_value("/alreadyDispatched", false)?;
    let again = state
        .warehouse_worker()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&body)
        .expect_status(200)
        .await?;
    expect_same_body(&first, &again)?;
    let other = state
        .warehouse_worker()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &format!("wm_dispatch_{}", new_trace_id()))
        .json(&body)
        .expect_status(200)
        .await?;
    other.expect_value("/alreadyDispatched", true)?;
    Ok(())
}

/// Checks that a repeated idempotency key returned the stored response.
fn expect_same_body(first: &TracedResponse, again: &TracedResponse) -> Result<(), RequestFailure> {
    if first.json()? == again.json()? {
        Ok(())
    } else {
        Err(again.failure("a repeated idempotency key returned a different response"))
    }
}
