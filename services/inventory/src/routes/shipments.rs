//! The route that lists shipments.

use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::shipment::{ShipmentList, ShipmentStatus};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, QueryParams, list_response};
use sqlx::PgPool;

use crate::store::shipments::{self, ShipmentFilter};

/// Lists the shipments, oldest first.
///
/// `status=PENDING` selects the shipments that can be dispatched, including those in loading.
#[utoipa::path(
    get,
    path = "/internal/shipments",
    tag = "shipments",
    params(
        ("x-user-id" = String, Header, description = "Name of the signed-in user"),
        ("status" = Option<String>, Query, description = "`PENDING`. All shipments without it"),
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
        Some(name) if name == ShipmentStatus::Pending.as_str() => ShipmentFilter::Open,
        Some(_) => {
            let message = "Only status=PENDING is supported for this demo";
            return Err(ApiError::invalid(message));
        }
    };
    let pool = PgPool::clone(&database);
    list_response(shipments::ShipmentListSource { pool, filter }).await
}
