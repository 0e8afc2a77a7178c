//! The HTTP routes.

mod orders;
mod timeline;

use dm_kit::Database;
use dm_kit::http::{ApiError, OpenApiRouter};
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router(database: Database) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(orders::list, orders::place))
        .routes(routes!(orders::detail))
        .routes(routes!(timeline::timeline))
        .with_state(database)
}

fn not_found(order_id: &str) -> ApiError {
    ApiError::not_found("ORDER_NOT_FOUND", format!("Order {order_id} was not found"))
}
