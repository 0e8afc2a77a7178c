//! Shipments.

use dm_gateway_client::{
    BearerClient, IDEMPOTENCY_KEY, RequestFailure, TracedResponse, find_page, new_trace_id,
};
use serde_json::json;

use super::{SKU, ScenarioState, eventually};

pub(super) async fn shipment_is_pending(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    state.warehouse_worker = Some(BearerClient::sign_in(&state.endpoints, "dphilbin").await?);
    let (worker, shipment) = (state.warehouse_worker()?, &state.shipment_id);
    let path = "/api/v1/warehouse/shipments?status=PENDING";
    eventually(
        async || find_page(path, |path| worker.get(path), "shipmentId", shipment).await,
        |list| list.expect_item("shipmentId", shipment).map(drop),
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

/// The reservation is released in the transaction that withdraws the shipment.
pub(super) async fn reservation_is_released(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let number = state.cancelled_order_id.trim_start_matches("ord_");
    let shipment = format!("ship_{number}");
    let worker = state.warehouse_worker()?;
    let list = "/api/v1/warehouse/shipments";
    eventually(
        async || find_page(list, |path| worker.get(path), "shipmentId", &shipment).await,
        |list| match list.expect_item("shipmentId", &shipment)? {
            item if item["status"] == "CANCELLED" => Ok(()),
            _ => Err(list.failure("the shipment of a cancelled order is not withdrawn")),
        },
    )
    .await?;
    let pending = format!("{list}?status=PENDING");
    let pending = find_page(&pending, |path| worker.get(path), "shipmentId", &shipment).await?;
    if pending.find_item("shipmentId", &shipment)?.is_some() {
        return Err(pending.failure("the shipment of a cancelled order is still to be shipped"));
    }
    let scan = worker
        .post(&format!("{list}/{shipment}/scan"))
        .json(&json!({"barcode": format!("SKU:{SKU}"), "quantity": 1}))
        .expect_status(404)
        .await?;
    scan.expect_value("/error/code", "SHIPMENT_NOT_FOUND")?;
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
