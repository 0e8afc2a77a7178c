//! The HTTP routes.

mod display_name;
mod me;

use dm_kit::Database;
use dm_kit::http::OpenApiRouter;
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(me::get, me::save))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openapi_document_has_each_endpoint_with_its_statuses() {
        let (_, api) = router().split_for_parts();
        assert_eq!(
            dm_kit::http::list_endpoints(&api),
            [
                "GET /internal/profile/me getProfile 200 401",
                "POST /internal/profile/me saveProfile 200 400 401",
            ]
        );
    }
}
