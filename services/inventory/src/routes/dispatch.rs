//! The route that dispatches a shipment.

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::order::OrderStatus;
use dm_contracts::api::parameters::RequiredIdempotencyKey;
use dm_contracts::api::shipment::{Dispatch, Dispatched, ShipmentStatus};
use dm_contracts::events::ShipmentDispatched;
use dm_contracts::time;
use dm_kit::http::{ApiError, Caller, CurrentTrace, JsonBody, PathId};
use dm_kit::{Database, Trace, Transaction, outbox};

use super::idempotency_key::IdempotencyKey;
use super::{idempotency_key_reused, not_found};
use crate::domain::dispatch as rules;
use crate::domain::{shipment, stock as arithmetic};
use crate::store::idempotency::{self, IdempotentOperation};
use crate::store::reservations::{self, ReservationStatus};
use crate::store::shipments::{self, DispatchRecord, LockedShipment};
use crate::store::stock;

/// Dispatches a shipment.
///
/// A repetition with the same key returns the same response and changes nothing. The response
/// to another key has `alreadyDispatched`.
#[utoipa::path(
    post,
    path = "/internal/shipments/{shipmentId}/dispatch",
    tag = "shipments",
    params(
        Caller,
        RequiredIdempotencyKey,
        ("shipmentId" = String, Path, description = "Id of the shipment"),
    ),
    request_body = Dispatch,
    responses(
        (status = 200, body = Dispatched),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The key belongs to another request", body = ErrorBody),
    )
)]
pub(super) async fn dispatch(
    Caller(user): Caller,
    State(database): State<Database>,
    CurrentTrace(trace): CurrentTrace,
    PathId(shipment_id): PathId,
    key: IdempotencyKey,
    request: Request,
) -> Result<Json<Dispatched>, ApiError> {
    // The header is checked before the body is read.
    let key = key.required()?;
    let JsonBody(request) = JsonBody::from_request(request, &()).await?;
    let new_dispatch =
        rules::validate(request).map_err(|error| ApiError::invalid(error.message()))?;

    let mut transaction = database.begin().await?;
    let stored =
        idempotency::claim_key(&mut transaction, IdempotentOperation::Dispatch, &key).await?;
    if let Some(dispatched) = stored {
        let dispatched: Dispatched = dispatched;
        // A response with `already_dispatched` does not depend on the user, and may go to any.
        let same_user = dispatched.already_dispatched || dispatched.dispatched_by == user;
        let same = same_user && dispatched.shipment_id == shipment_id;
        return same
            .then_some(Json(dispatched))
            .ok_or_else(idempotency_key_reused);
    }
    let shipment = shipments::lock(&mut transaction, &shipment_id)
        .await?
        .ok_or_else(|| not_found(&shipment_id))?;
    let response = match shipment.dispatch.clone() {
        Some(record) => dispatch_response(shipment, record, true),
        None if shipment::is_open(shipment.status) => {
            let record = DispatchRecord {
                dispatched_at: new_dispatch.dispatched_at,
                dispatched_by: user,
                truck_id: new_dispatch.truck_id,
                dispatch_id: rules::new_id(),
            };
            dispatch_shipment(&mut transaction, &shipment, &record, &trace).await?;
            dispatch_response(shipment, record, false)
        }
        None => return Err(not_found(&shipment_id)),
    };
    idempotency::store_response(
        &mut transaction,
        IdempotentOperation::Dispatch,
        &key,
        &shipment_id,
        &response,
    )
    .await?;
    transaction.commit().await?;
    Ok(Json(response))
}

/// Dispatches a shipment together with the reservation of its order.
async fn dispatch_shipment(
    transaction: &mut Transaction,
    shipment: &LockedShipment,
    record: &DispatchRecord,
    trace: &Trace,
) -> Result<(), ApiError> {
    let now = time::now();
    let status = ReservationStatus::Dispatched;
    let needs = reservations::close(transaction, &shipment.order_id, status, now).await?;
    let levels = stock::lock(transaction, &needs).await?;
    let levels = arithmetic::ship(&needs, &levels).map_err(ApiError::internal)?;
    stock::update_counts(transaction, &levels, now).await?;
    shipments::mark_dispatched(transaction, &shipment.shipment_id, record).await?;
    let event = ShipmentDispatched {
        shipment_id: shipment.shipment_id.clone(),
        order_id: shipment.order_id.clone(),
        order_created_by: shipment.created_by.clone(),
        dispatched_by: record.dispatched_by.clone(),
        truck_id: record.truck_id.clone(),
        dispatched_at: record.dispatched_at,
    };
    outbox::append(transaction, &event, trace).await?;
    Ok(())
}

fn dispatch_response(
    shipment: LockedShipment,
    record: DispatchRecord,
    already_dispatched: bool,
) -> Dispatched {
    Dispatched {
        shipment_id: shipment.shipment_id,
        order_id: shipment.order_id,
        shipment_status: ShipmentStatus::Dispatched,
        order_status: OrderStatus::Shipped,
        dispatched_at: record.dispatched_at,
        dispatched_by: record.dispatched_by,
        dispatch_id: record.dispatch_id,
        truck_id: record.truck_id,
        already_dispatched,
    }
}
