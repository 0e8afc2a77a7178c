//! The profile of the caller.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::profile::{Profile, SaveProfile};
use dm_contracts::events::ProfileUpdated;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, CurrentTrace, JsonBody};
use dm_kit::outbox;

use super::display_name::DisplayName;
use crate::domain::ProfileSettings;
use crate::store::profiles;

/// Returns the caller's profile and creates it on the first request
#[utoipa::path(
    get,
    path = "/internal/profile/me",
    operation_id = "getProfile",
    params(
        Caller,
        ("x-user-display-name" = Option<String>, Header, nullable = false, description = "Display name of the signed-in user"),
    ),
    responses(
        (status = 200, description = "The profile", body = Profile),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn get(
    State(database): State<Database>,
    Caller(caller): Caller,
    DisplayName(name): DisplayName,
) -> Result<Json<Profile>, ApiError> {
    if let Some(profile) = profiles::find(&database, &caller).await? {
        return Ok(Json(profile));
    }
    // Of concurrent first requests, one inserts the profile.
    let settings = ProfileSettings::initial(&caller, name.as_deref());
    profiles::insert_if_absent(&database, &caller, &settings).await?;
    profiles::find(&database, &caller)
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::internal("the profile was deleted right after it was stored"))
}

/// Replaces the caller's profile
#[utoipa::path(
    post,
    path = "/internal/profile/me",
    operation_id = "saveProfile",
    params(Caller),
    request_body = SaveProfile,
    responses(
        (status = 200, description = "The profile", body = Profile),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn save(
    State(database): State<Database>,
    Caller(caller): Caller,
    CurrentTrace(trace): CurrentTrace,
    JsonBody(request): JsonBody<SaveProfile>,
) -> Result<Json<Profile>, ApiError> {
    let settings = ProfileSettings::from_request(request)
        .map_err(|issues| ApiError::validation("Profile update validation failed", issues))?;
    let mut transaction = database.begin().await?;
    let saved = profiles::save(&mut transaction, &caller, &settings).await?;
    let event = ProfileUpdated {
        user_id: saved.user_id.clone(),
        full_name: saved.profile.full_name.clone(),
        email: saved.profile.email.clone(),
        default_app: saved.preferences.default_app.clone(),
        notifications_enabled: saved.preferences.notifications_enabled,
        updated_by: caller,
        updated_at: saved.updated_at,
    };
    outbox::append(&mut transaction, &event, &trace).await?;
    transaction.commit().await?;
    Ok(Json(saved))
}
