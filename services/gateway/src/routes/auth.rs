//! The route of the current user.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::auth::{Me, NotSignedIn};
use dm_kit::http::OpenApiRouter;
use http::{HeaderMap, StatusCode};
use utoipa_axum::routes;

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
    security(("session" = [])),
    responses(
        (status = 200, body = Me),
        (status = 401, description = "The request has no session.", body = NotSignedIn),
    )
)]
async fn me(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let Some(session) = gateway.sessions.find(&headers) else {
        return (StatusCode::UNAUTHORIZED, Json(NotSignedIn::default())).into_response();
    };
    let user = &session.user;
    Json(Me {
        user_id: user.id.clone(),
        display_name: user.display_name.clone(),
        roles: user.roles.clone(),
        groups: user.groups.clone(),
        apps: apps_for_roles(&user.roles),
        session_expires_at: session.expires_at,
    })
    .into_response()
}
