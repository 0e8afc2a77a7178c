//! The HTTP routes.

mod dispatch;
mod idempotency_key;
mod scan;
mod shipments;
mod stock;

use dm_kit::Database;
use dm_kit::http::{ApiError, OpenApiRouter};
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router(database: Database) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(shipments::list))
        .routes(routes!(scan::scan))
        .routes(routes!(dispatch::dispatch))
        .routes(routes!(stock::products))
        .routes(routes!(stock::levels))
        .routes(routes!(stock::level))
        .with_state(database)
}

/// Returns the error for a key that was used for another shipment or by another user.
fn idempotency_key_reused() -> ApiError {
    ApiError::conflict(
        "IDEMPOTENCY_KEY_REUSED",
        "Idempotency-Key was used for another shipment or by another user",
    )
}

/// Returns the error for a shipment that does not exist or is not in the warehouse.
fn not_found(shipment_id: &str) -> ApiError {
    ApiError::not_found(
        "SHIPMENT_NOT_FOUND",
        format!("Shipment {shipment_id} was not found"),
    )
}
