//! The route that lists shipments.

use axum::extract::State;
use axum::response::Response;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::parameters::ShipmentFilters;
use dm_contracts::api::shipment::{ShipmentList, ShipmentStatus};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, CursorPaging, QueryParams, list_response};

use crate::store::shipments::{ShipmentFilter, ShipmentListSource};

/// Lists the shipments, oldest first unless another order is requested.
///
/// `status=PENDING` selects the shipments that can be dispatched, including those in loading.
#[utoipa::path(
    get,
    path = "/internal/shipments",
    tag = "shipments",
    params(
        Caller,
        ShipmentFilters,
        CursorPaging,
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
    paging: CursorPaging,
) -> Result<Response, ApiError> {
    let filter = match params.get("status") {
        None => ShipmentFilter::All,
        Some(name) if name == ShipmentStatus::Pending.as_str() => ShipmentFilter::Open,
        Some(_) => {
            let message = "Only status=PENDING is supported for this demo";
            return Err(ApiError::invalid(message));
        }
    };
    list_response(&database, ShipmentListSource { filter }, &paging).await
}
