//! The HTTP routes.

mod notifications;
#[cfg(test)]
mod server_tests;

use dm_kit::Database;
use dm_kit::http::OpenApiRouter;
use utoipa_axum::routes;

/// Returns the router of the service.
pub(crate) fn router() -> OpenApiRouter<Database> {
    OpenApiRouter::new()
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::mark_read))
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
                "GET /internal/notifications listNotifications 200 400 401",
                "POST /internal/notifications/{notificationId}/read readNotification 200 401 404",
            ]
        );
    }

    #[test]
    fn each_endpoint_documents_its_errors() {
        let (_, api) = router().split_for_parts();
        assert_eq!(
            dm_kit::http::find_missing_responses(api),
            Vec::<String>::new()
        );
    }
}
