//! The route that cancels an order.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::order::{CancelOrder, CancelledOrder, OrderStatus};
use dm_contracts::events::{OrderCancelled, OrderStatusChanged};
use dm_kit::http::{ApiError, Caller, CurrentTrace, JsonBody, PathId};
use dm_kit::{Database, Trace, Transaction, outbox};

use super::not_found;
use crate::SERVICE;
use crate::domain::cancellation::{self as rules, CancelDecision, Cancellation};
use crate::store::cancellation::{self, LockedOrder};
use crate::store::timeline;

/// Cancels an order.
///
/// A repetition returns the first cancellation and changes nothing. inventory-service releases
/// the reservation and withdraws the shipment when it processes the event; if the shipment has
/// left by then, the order becomes `SHIPPED`.
#[utoipa::path(
    post,
    path = "/internal/orders/{orderId}/cancel",
    tag = "orders",
    params(
        Caller,
        ("orderId" = String, Path, description = "Id of the order"),
    ),
    request_body(content = Option<CancelOrder>, content_type = "application/json"),
    responses(
        (status = 200, body = CancelledOrder),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The order is shipped", body = ErrorBody),
    )
)]
pub(super) async fn cancel(
    Caller(user): Caller,
    State(database): State<Database>,
    CurrentTrace(trace): CurrentTrace,
    PathId(order_id): PathId,
    JsonBody(request): JsonBody<CancelOrder>,
) -> Result<Json<CancelledOrder>, ApiError> {
    let reason = rules::validate(request)
        .map_err(|issues| ApiError::validation("Cancel request validation failed", issues))?;
    let mut transaction = database.begin().await?;
    let order = cancellation::lock(&mut transaction, &order_id)
        .await?
        .ok_or_else(|| not_found(&order_id))?;
    let cancellation = match rules::decide(order.status) {
        CancelDecision::AlreadyShipped => return Err(already_shipped(&order_id)),
        CancelDecision::AlreadyCancelled => order
            .cancellation
            .ok_or_else(|| ApiError::internal("the cancelled order has no cancellation"))?,
        CancelDecision::Cancel => {
            let cancelled = cancel_order(&mut transaction, order, user, reason, &trace).await?;
            transaction.commit().await?;
            cancelled
        }
    };
    Ok(Json(CancelledOrder {
        order_id,
        status: OrderStatus::Cancelled,
        cancelled_at: cancellation.at,
        cancelled_by: cancellation.by,
        cancel_reason: cancellation.reason,
    }))
}

/// Cancels a locked order: its row, its timeline and its events.
async fn cancel_order(
    transaction: &mut Transaction,
    order: LockedOrder,
    user: String,
    reason: Option<String>,
    trace: &Trace,
) -> Result<Cancellation, ApiError> {
    let status = OrderStatus::Cancelled;
    let order_id = order.order_id;
    let at = cancellation::mark_cancelled(transaction, &order_id, &user, reason.as_deref()).await?;
    timeline::append(transaction, &order_id, status, at, SERVICE.name).await?;
    let cancelled = OrderCancelled {
        order_id: order_id.clone(),
        client_id: order.client_id,
        requested_ship_date: order.requested_ship_date,
        items: order.items,
        created_by: order.created_by,
        created_at: order.created_at,
        cancelled_by: user.clone(),
        reason: reason.clone(),
        cancelled_at: at,
    };
    outbox::append(transaction, &cancelled, trace).await?;
    let changed = OrderStatusChanged {
        order_id,
        status: status.as_str().to_owned(),
        reason: reason.clone(),
        at,
    };
    outbox::append(transaction, &changed, trace).await?;
    Ok(Cancellation {
        at,
        by: user,
        reason,
    })
}

/// Returns the error for an order whose shipment has left.
fn already_shipped(order_id: &str) -> ApiError {
    ApiError::conflict(
        "ORDER_ALREADY_SHIPPED",
        format!("Order {order_id} is already shipped"),
    )
}
