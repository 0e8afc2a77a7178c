//! Scanning parcels onto a shipment.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::shipment::{LastScan, Scan, Scanned, ShipmentStatus};
use dm_contracts::time;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, JsonBody, PathId};

use super::idempotency_key::IdempotencyKey;
use super::{idempotency_key_reused, not_found};
use crate::domain::{scan as rules, shipment};
use crate::store::idempotency::{self, IdempotentOperation};
use crate::store::{scans, shipments};

/// Scans a parcel. With a key, a repetition answers the same and changes nothing.
#[utoipa::path(
    post,
    path = "/internal/shipments/{shipmentId}/scan",
    tag = "shipments",
    params(
        ("x-user-id" = String, Header, description = "The signed-in user"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names this scan"),
        ("shipmentId" = String, Path, description = "The shipment"),
    ),
    request_body = Scan,
    responses(
        (status = 200, body = Scanned),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The key was used for something else", body = ErrorBody),
    )
)]
pub(super) async fn scan(
    Caller(user): Caller,
    State(database): State<Database>,
    PathId(shipment_id): PathId,
    key: IdempotencyKey,
    JsonBody(request): JsonBody<Scan>,
) -> Result<Json<Scanned>, ApiError> {
    let parcel = rules::validate(request).map_err(ApiError::invalid)?;
    let key = key.optional()?;
    let mut transaction = database.begin().await?;
    if let Some(key) = &key {
        let before =
            idempotency::claim_key(&mut transaction, IdempotentOperation::Scan, key).await?;
        if let Some(scanned) = before {
            let scanned: Scanned = scanned;
            let same = scanned.shipment_id == shipment_id && scanned.last_scan.scanned_by == user;
            return same
                .then_some(Json(scanned))
                .ok_or_else(idempotency_key_reused);
        }
    }
    let found = shipments::lock(&mut transaction, &shipment_id).await?;
    let found = found
        .filter(|found| shipment::is_open(found.status))
        .ok_or_else(|| not_found(&shipment_id))?;
    let scan = LastScan {
        barcode: parcel.barcode,
        quantity: parcel.quantity,
        scanned_by: user,
        scanned_at: time::now(),
    };
    scans::insert(&mut transaction, &shipment_id, &scan, key.as_deref()).await?;
    let status = ShipmentStatus::Loading;
    if found.status != status {
        let at = scan.scanned_at;
        shipments::set_status(&mut transaction, &found.order_id, status, at).await?;
    }
    let answer = Scanned {
        shipment_id,
        order_id: found.order_id,
        status,
        last_scan: scan,
    };
    if let Some(key) = &key {
        let shipment = &answer.shipment_id;
        idempotency::store_response(
            &mut transaction,
            IdempotentOperation::Scan,
            key,
            shipment,
            &answer,
        )
        .await?;
    }
    transaction.commit().await?;
    Ok(Json(answer))
}
