//! The HTTP routes.

mod dispatch;
mod idempotency_key;
mod scan;
#[cfg(test)]
mod server_tests;
mod shipments;
mod stock;

use dm_kit::Database;
use dm_kit::http::{ApiError, OpenApiRouter};
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router(database: Database) -> OpenApiRouter {
    routes().with_state(database)
}

fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(shipments::list))
        .routes(routes!(scan::scan))
        .routes(routes!(dispatch::dispatch))
        .routes(routes!(stock::products))
        .routes(routes!(stock::levels))
        .routes(routes!(stock::level))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_document_has_each_endpoint_with_its_statuses() {
        let (_, api) = routes().split_for_parts();
        assert_eq!(
            dm_kit::http::list_endpoints(&api),
            [
                "GET /internal/products products 200 400 401",
                "GET /internal/shipments list 200 400 401",
                "GET /internal/stock levels 200 400 401",
                "GET /internal/stock/{sku} level 200 401 404",
                "POST /internal/shipments/{shipmentId}/dispatch dispatch 200 400 401 404 409",
                "POST /internal/shipments/{shipmentId}/scan scan 200 400 401 404 409",
            ]
        );
    }

    #[test]
    fn each_endpoint_documents_its_errors() {
        let (_, api) = routes().split_for_parts();
        assert_eq!(
            dm_kit::http::find_missing_responses(api),
            Vec::<String>::new()
        );
    }
}
