//! Shipments.

use dm_gateway_client::{Answer, Fault, IDEMPOTENCY_KEY, Phone, trace_id};
use serde_json::json;

use super::{SKU, World, eventually};

pub(super) async fn shipment_is_pending(world: &mut World) -> Result<(), Fault> {
    world.warehouse = Some(Phone::sign_in(&world.site, "dphilbin").await?);
    let shipment = world.shipment.clone();
    eventually(
        async || {
            world
                .phone()?
                .get("/api/v1/warehouse/shipments?status=PENDING")
                .expect(200)
                .await
        },
        |list| list.listed("shipmentId", &shipment).map(drop),
    )
    .await
}

pub(super) async fn shipment_is_scanned(world: &mut World) -> Result<(), Fault> {
    let path = format!("/api/v1/warehouse/shipments/{}/scan", world.shipment);
    let scan = json!({"barcode": format!("SKU:{SKU}"), "quantity": 3});
    let broken = world
        .phone()?
        .post(&path)
        .json(&json!({"barcode": " ", "quantity": 0}))
        .expect(400)
        .await?;
    broken.has("/error/message", "Scan payload validation failed")?;
    let key = format!("wm_scan_{}", trace_id());
    let first = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&scan)
        .expect(200)
        .await?;
    first
        .has("/status", "LOADING")?
        .has("/lastScan/scannedBy", "dphilbin")?;
    let again = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&scan)
        .expect(200)
        .await?;
    same(&first, &again)
}

pub(super) async fn shipment_is_dispatched(world: &mut World) -> Result<(), Fault> {
    let path = format!("/api/v1/warehouse/shipments/{}/dispatch", world.shipment);
    let body = json!({
        "truckId": "truck_scr_03",
        "dispatchedAt": dm_contracts::time::format(dm_contracts::time::now()),
    });
    let missing = world.phone()?.post(&path).json(&body).expect(400).await?;
    missing.has("/error/message", "Idempotency-Key header is required")?;
    let key = format!("wm_dispatch_{}", trace_id());
    let first = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&body)
        .expect(200)
        .await?;
    first
        .has("/shipmentStatus", "DISPATCHED")?
        .has("/orderId", world.order.as_str())?
        .has("/alreadyDispatched", false)?;
    let again = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &key)
        .json(&body)
        .expect(200)
        .await?;
    same(&first, &again)?;
    let other = world
        .phone()?
        .post(&path)
        .header(IDEMPOTENCY_KEY, &format!("wm_dispatch_{}", trace_id()))
        .json(&body)
        .expect(200)
        .await?;
    other.has("/alreadyDispatched", true)?;
    Ok(())
}

/// A replayed key gets the stored answer.
fn same(first: &Answer, again: &Answer) -> Result<(), Fault> {
    if first.json()? == again.json()? {
        Ok(())
    } else {
        Err(again.fault("the same key got another response"))
    }
}
