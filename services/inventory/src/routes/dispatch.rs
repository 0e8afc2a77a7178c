//! Sending a shipment off.

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::order::OrderStatus;
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
use crate::store::shipments::{self, DispatchRecord, LockedShipment};
use crate::store::{reservations, stock};

/// Sends a shipment off. A repetition answers the same and changes nothing; another
/// key is told that it left before.
#[utoipa::path(
    post,
    path = "/internal/shipments/{shipmentId}/dispatch",
    tag = "shipments",
    params(
        ("x-user-id" = String, Header, description = "The signed-in user"),
        ("Idempotency-Key" = String, Header, description = "Names this dispatch"),
        ("shipmentId" = String, Path, description = "The shipment"),
    ),
    request_body = Dispatch,
    responses(
        (status = 200, body = Dispatched),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The key was used for something else", body = ErrorBody),
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
    // The header is checked before the body is so much as read.
    let key = key.required()?;
    let JsonBody(request) = JsonBody::from_request(request, &()).await?;
    let departure = rules::validate(request).map_err(|fault| ApiError::invalid(fault.message()))?;

    let mut transaction = database.begin().await?;
    let before =
        idempotency::claim_key(&mut transaction, IdempotentOperation::Dispatch, &key).await?;
    if let Some(dispatched) = before {
        let dispatched: Dispatched = dispatched;
        // Who asked after it had left is not in the answer, which anybody may have.
        let same_user = dispatched.already_dispatched || dispatched.dispatched_by == user;
        let same = same_user && dispatched.shipment_id == shipment_id;
        return same
            .then_some(Json(dispatched))
            .ok_or_else(idempotency_key_reused);
    }
    let found = shipments::lock(&mut transaction, &shipment_id)
        .await?
        .ok_or_else(|| not_found(&shipment_id))?;
    let answer = match found.dispatch.clone() {
        Some(departed) => dispatch_response(found, departed, true),
        None if shipment::is_open(found.status) => {
            let departed = DispatchRecord {
                dispatched_at: departure.dispatched_at,
                dispatched_by: user,
                truck_id: departure.truck_id,
                dispatch_id: rules::new_id(),
            };
            dispatch_shipment(&mut transaction, &found, &departed, &trace).await?;
            dispatch_response(found, departed, false)
        }
        None => return Err(not_found(&shipment_id)),
    };
    idempotency::store_response(
        &mut transaction,
        IdempotentOperation::Dispatch,
        &key,
        &shipment_id,
        &answer,
    )
    .await?;
    transaction.commit().await?;
    Ok(Json(answer))
}

/// The shipment leaves, and with it what was reserved for its order.
async fn dispatch_shipment(
    transaction: &mut Transaction,
    found: &LockedShipment,
    departed: &DispatchRecord,
    trace: &Trace,
) -> Result<(), ApiError> {
    let now = time::now();
    let needs = reservations::close(transaction, &found.order_id, now).await?;
    let levels = stock::lock(transaction, &needs).await?;
    let levels = arithmetic::ship(&needs, &levels).map_err(ApiError::internal)?;
    stock::update_counts(transaction, &levels, now).await?;
    shipments::mark_dispatched(transaction, &found.shipment_id, departed).await?;
    let event = ShipmentDispatched {
        shipment_id: found.shipment_id.clone(),
        order_id: found.order_id.clone(),
        order_created_by: found.created_by.clone(),
        dispatched_by: departed.dispatched_by.clone(),
        truck_id: departed.truck_id.clone(),
        dispatched_at: departed.dispatched_at,
    };
    outbox::append(transaction, &event, trace).await?;
    Ok(())
}

fn dispatch_response(
    found: LockedShipment,
    departed: DispatchRecord,
    already_dispatched: bool,
) -> Dispatched {
    Dispatched {
        shipment_id: found.shipment_id,
        order_id: found.order_id,
        shipment_status: ShipmentStatus::Dispatched,
        order_status: OrderStatus::Shipped,
        dispatched_at: departed.dispatched_at,
        dispatched_by: departed.dispatched_by,
        dispatch_id: departed.dispatch_id,
        truck_id: departed.truck_id,
        already_dispatched,
    }
}
