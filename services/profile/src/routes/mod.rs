//! The HTTP routes.

mod app_settings;
mod avatar;
mod display_name;
mod image_response;
mod me;
#[cfg(test)]
mod server_tests;

use axum::extract::FromRef;
use dm_kit::Database;
use dm_kit::http::OpenApiRouter;
use utoipa_axum::routes;

use crate::avatar_converter::AvatarConverter;

/// The state that the routes share.
#[derive(Debug, Clone)]
pub(crate) struct RouteState {
    pub(crate) database: Database,
    pub(crate) converter: AvatarConverter,
}

impl FromRef<RouteState> for Database {
    fn from_ref(state: &RouteState) -> Self {
        state.database.clone()
    }
}

impl FromRef<RouteState> for AvatarConverter {
    fn from_ref(state: &RouteState) -> Self {
        state.converter.clone()
    }
}

/// Returns the router of the service.
pub(crate) fn router() -> OpenApiRouter<RouteState> {
    OpenApiRouter::new()
        .routes(routes!(me::get, me::save))
        .routes(routes!(avatar::own, avatar::save, avatar::delete))
        .routes(routes!(avatar::of_user))
        .routes(routes!(app_settings::get, app_settings::save))
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
                "DELETE /internal/profile/me/avatar deleteAvatar 204 401",
                "GET /internal/profile/me getProfile 200 401",
                "GET /internal/profile/me/apps/{app}/settings getAppSettings 200 401 404",
                "GET /internal/profile/me/avatar getOwnAvatar 200 304 401",
                "GET /internal/profile/{userId}/avatar getAvatar 200 304 401",
                "POST /internal/profile/me saveProfile 200 400 401",
                "PUT /internal/profile/me/apps/{app}/settings saveAppSettings 200 400 401 404 409",
                "PUT /internal/profile/me/avatar saveAvatar 204 400 401 413 429",
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
