//! The HTTP routes.

mod cancel;
mod orders;
#[cfg(test)]
mod server_tests;
mod timeline;

use dm_kit::Database;
use dm_kit::http::{ApiError, OpenApiRouter};
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router(database: Database) -> OpenApiRouter {
    routes().with_state(database)
}

fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(orders::list, orders::place))
        .routes(routes!(orders::detail))
        .routes(routes!(timeline::timeline))
        .routes(routes!(cancel::cancel))
}

fn not_found(order_id: &str) -> ApiError {
    ApiError::not_found("ORDER_NOT_FOUND", format!("Order {order_id} was not found"))
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
                "GET /internal/orders list 200 400 401",
                "GET /internal/orders/{orderId} detail 200 401 404",
                "GET /internal/orders/{orderId}/timeline timeline 200 401 404",
                "POST /internal/orders place 201 400 401",
                "POST /internal/orders/{orderId}/cancel cancel 200 400 401 404 409",
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
