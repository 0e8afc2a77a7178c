//! The list of shipments.

use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::shipment::{ShipmentList, ShipmentStatus};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, QueryParams, list_response};
use sqlx::PgPool;

use crate::store::shipments::{self, ShipmentFilter};

/// Shipments, oldest first. `status=PENDING` means those that can still be sent off,
/// so that those that are being loaded are among them.
#[utoipa::path(
    get,
    path = "/internal/shipments",
    tag = "shipments",
    params(
        ("x-user-id" = String, Header, description = "The signed-in user"),
        ("status" = Option<String>, Query, description = "`PENDING`, or all of them"),
    ),
    responses(
        (status = 200, body = ShipmentList),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
    )
)]
pub(super) async fn list(
    _: Caller,
    State(database): State<Database>,
    params: QueryParams,
) -> Result<Response, ApiError> {
    let filter = match params.get("status") {
        None => ShipmentFilter::All,
        Some(word) if word == ShipmentStatus::Pending.as_str() => ShipmentFilter::Open,
        Some(_) => {
            let message = "Only status=PENDING is supported for this demo";
            return Err(ApiError::invalid(message));
        }
    };
    let pool = PgPool::clone(&database);
    list_response(shipments::ShipmentListSource { pool, filter }).await
}
