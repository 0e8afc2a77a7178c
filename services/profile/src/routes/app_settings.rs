//! The settings that apps keep for the caller.

use axum::Json;
use axum::extract::State;
use dm_contracts::App;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::profile::{AppSettings, SaveAppSettings};
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, PathId, RawJsonBody};
use serde_json::value::RawValue;

use crate::domain::NewAppSettings;
use crate::store::app_settings;

/// Returns the caller's settings of an app: version 0 without settings if nothing was saved
#[utoipa::path(
    get,
    path = "/internal/profile/me/apps/{app}/settings",
    operation_id = "getAppSettings",
    params(
        ("app" = inline(App), Path, description = "The app"),
        Caller,
    ),
    responses(
        (status = 200, description = "The settings", body = AppSettings),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "There is no such app", body = ErrorBody),
    )
)]
pub(super) async fn get(
    State(database): State<Database>,
    Caller(caller): Caller,
    PathId(app): PathId,
) -> Result<Json<AppSettings>, ApiError> {
    let app = app_with_name(&app)?;
    if let Some(saved) = app_settings::find(&database, &caller, app).await? {
        return Ok(Json(saved));
    }
    let none = RawValue::from_string("{}".to_owned()).map_err(ApiError::internal)?;
    Ok(Json(AppSettings {
        app,
        version: 0,
        settings: none,
        updated_at: None,
    }))
}

/// Replaces the caller's settings of an app, unless they have changed since the caller read them
#[utoipa::path(
    put,
    path = "/internal/profile/me/apps/{app}/settings",
    operation_id = "saveAppSettings",
    params(
        ("app" = inline(App), Path, description = "The app"),
        Caller,
    ),
    request_body = SaveAppSettings,
    responses(
        (status = 200, description = "The settings with their new version", body = AppSettings),
        (status = 400, description = "A field is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "There is no such app", body = ErrorBody),
        (status = 409, description = "The version is not the stored one", body = ErrorBody),
    )
)]
pub(super) async fn save(
    State(database): State<Database>,
    Caller(caller): Caller,
    PathId(app): PathId,
    RawJsonBody(request): RawJsonBody<SaveAppSettings>,
) -> Result<Json<AppSettings>, ApiError> {
    let app = app_with_name(&app)?;
    let new = NewAppSettings::from_request(request)
        .map_err(|issues| ApiError::validation("App settings validation failed", issues))?;
    let saved = app_settings::save(&database, &caller, app, &new).await?;
    saved.map(Json).ok_or_else(|| {
        ApiError::conflict(
            "VERSION_CONFLICT",
            format!(
                "Settings of {} have changed since version {}",
                app.name(),
                new.read_version
            ),
        )
    })
}

/// Returns the app with exactly this name.
fn app_with_name(name: &str) -> Result<App, ApiError> {
    let app = App::ALL.into_iter().find(|app| app.name() == name);
    app.ok_or_else(|| ApiError::not_found("APP_NOT_FOUND", format!("App {name} was not found")))
}
