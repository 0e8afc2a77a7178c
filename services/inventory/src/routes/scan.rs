//! The route that scans a parcel of a shipment.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::parameters::OptionalIdempotencyKey;
use dm_contracts::api::shipment::{LastScan, Scan, Scanned, ShipmentStatus};
use dm_contracts::events::PickingStarted;
use dm_contracts::time;
use dm_kit::http::{ApiError, Caller, CurrentTrace, JsonBody, PathId};
use dm_kit::{Database, outbox};

use super::idempotency_key::IdempotencyKey;
use super::{idempotency_key_reused, not_found};
use crate::domain::{scan as rules, shipment};
use crate::store::idempotency::{self, IdempotentOperation};
use crate::store::{scans, shipments};

/// Scans a parcel. The first scan of a shipment sets its order to `PICKING`.
///
/// A repetition with the same key returns the same response and changes nothing.
#[utoipa::path(
    post,
    path = "/internal/shipments/{shipmentId}/scan",
    tag = "shipments",
    params(
        Caller,
        OptionalIdempotencyKey,
        ("shipmentId" = String, Path, description = "Id of the shipment"),
    ),
    request_body = Scan,
    responses(
        (status = 200, body = Scanned),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The key belongs to another request", body = ErrorBody),
    )
)]
pub(super) async fn scan(
    Caller(user): Caller,
    State(database): State<Database>,
    CurrentTrace(trace): CurrentTrace,
    PathId(shipment_id): PathId,
    key: IdempotencyKey,
    JsonBody(request): JsonBody<Scan>,
) -> Result<Json<Scanned>, ApiError> {
    let new_scan = rules::validate(request).map_err(ApiError::invalid)?;
    let key = key.optional()?;
    let mut transaction = database.begin().await?;
    if let Some(key) = &key {
        let stored =
            idempotency::claim_key(&mut transaction, IdempotentOperation::Scan, key).await?;
        if let Some(scanned) = stored {
            let scanned: Scanned = scanned;
            let same = scanned.shipment_id == shipment_id && scanned.last_scan.scanned_by == user;
            return same
                .then_some(Json(scanned))
                .ok_or_else(idempotency_key_reused);
        }
    }
    let shipment = shipments::lock(&mut transaction, &shipment_id).await?;
    let shipment = shipment
        .filter(|shipment| shipment::is_open(shipment.status))
        .ok_or_else(|| not_found(&shipment_id))?;
    let scan = LastScan {
        barcode: new_scan.barcode,
        quantity: new_scan.quantity,
        scanned_by: user,
        scanned_at: time::now(),
    };
    scans::insert(&mut transaction, &shipment_id, &scan, key.as_deref()).await?;
    let status = ShipmentStatus::Loading;
    if shipment::is_first_scan(shipment.status) {
        shipments::set_status(&mut transaction, &shipment.order_id, status).await?;
        let event = PickingStarted {
            order_id: shipment.order_id.clone(),
            shipment_id: shipment_id.clone(),
            scanned_by: scan.scanned_by.clone(),
            at: scan.scanned_at,
        };
        outbox::append(&mut transaction, &event, &trace).await?;
    }
    let response = Scanned {
        shipment_id,
        order_id: shipment.order_id,
        status,
        last_scan: scan,
    };
    if let Some(key) = &key {
        idempotency::store_response(
            &mut transaction,
            IdempotentOperation::Scan,
            key,
            &response.shipment_id,
            &response,
        )
        .await?;
    }
    transaction.commit().await?;
    Ok(Json(response))
}
