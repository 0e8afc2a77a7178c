//! The route of the timeline of an order.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::order::OrderTimeline;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, PathId};

use super::not_found;
use crate::store;

/// Returns the timeline of an order, earliest entry first.
#[utoipa::path(
    get,
    path = "/internal/orders/{orderId}/timeline",
    tag = "orders",
    params(
        Caller,
        ("orderId" = String, Path, description = "Id of the order"),
    ),
    responses(
        (status = 200, body = OrderTimeline),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
pub(super) async fn timeline(
    _: Caller,
    State(database): State<Database>,
    PathId(order_id): PathId,
) -> Result<Json<OrderTimeline>, ApiError> {
    let entries = store::timeline::list(&database, &order_id).await?;
    if entries.is_empty() {
        return Err(not_found(&order_id));
    }
    Ok(Json(OrderTimeline {
        order_id,
        events: entries,
    }))
}
