//! The route of the current user.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::auth::{Me, NotSignedIn};
use dm_contracts::api::error::ErrorBody;
use dm_kit::http::{ApiError, OpenApiRouter};
use http::{HeaderMap, StatusCode};
use utoipa_axum::routes;

use super::authorization::identify;
use super::openapi::FOREIGN_ORIGIN;
use crate::Gateway;
use crate::access::apps_for_roles;

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new().routes(routes!(me))
}

/// Returns the signed-in user and the apps that the user may open.
#[utoipa::path(
    get,
    path = "/api/v1/auth/me",
    tag = "session",
    security(("session" = []), ("bearer" = [])),
    responses(
        (status = 200, body = Me),
        (status = 401, description = "The request has no session and no valid token.", body = NotSignedIn),
        (status = 403, description = FOREIGN_ORIGIN, body = ErrorBody),
    )
)]
async fn me(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Some(identity) = identify(&gateway, &headers).await? else {
        let body = Json(NotSignedIn::default());
        return Ok((StatusCode::UNAUTHORIZED, body).into_response());
    };
    let user = identity.user();
    let me = Me {
        user_id: user.id.clone(),
        display_name: user.display_name.clone(),
        roles: user.roles.clone(),
        groups: user.groups.clone(),
        apps: apps_for_roles(&user.roles),
        session_expires_at: identity.expires_at(),
        session_idle_expires_at: identity.idle_expires_at(),
    };
    Ok(Json(me).into_response())
}
