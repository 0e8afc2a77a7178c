//! The table `app_settings`.

use chrono::{DateTime, Utc};
use dm_contracts::App;
use dm_contracts::api::profile::AppSettings;
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::postgres::PgPool;
use sqlx::types::Json;

use crate::domain::NewAppSettings;

#[derive(Debug, FromRow)]
struct AppSettingsRow {
    version: i64,
    settings: Json<Box<RawValue>>,
    updated_at: DateTime<Utc>,
}

impl AppSettingsRow {
    fn into_settings(self, app: App) -> AppSettings {
        AppSettings {
            app,
            version: self.version,
            settings: self.settings.0,
            updated_at: Some(self.updated_at),
        }
    }
}

/// Returns the saved settings of a user for an app.
pub(crate) async fn find(
    pool: &PgPool,
    user_id: &str,
    app: App,
) -> Result<Option<AppSettings>, sqlx::Error> {
    let row: Option<AppSettingsRow> = sqlx::query_as(
        "SELECT version, settings, updated_at FROM app_settings
          WHERE user_id = $1 AND app = $2",
    )
    .bind(user_id)
    .bind(app.stored_name())
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| row.into_settings(app)))
}

/// Saves settings as the next version. Returns `None` if the stored version is not the one that
/// the caller has read. Of concurrent calls with one version, one saves.
pub(crate) async fn save(
    pool: &PgPool,
    user_id: &str,
    app: App,
    new: &NewAppSettings,
) -> Result<Option<AppSettings>, sqlx::Error> {
    // An update that waited for a concurrent one checks the version again.
    let statement = if new.read_version == 0 {
        "INSERT INTO app_settings (user_id, app, version, settings, updated_at)
         VALUES ($1, $2, $3 + 1, $4::json, statement_timestamp())
         ON CONFLICT (user_id, app) DO NOTHING
         RETURNING version, settings, updated_at"
    } else {
        "UPDATE app_settings
            SET version = version + 1, settings = $4::json,
                updated_at = greatest(updated_at, statement_timestamp())
          WHERE user_id = $1 AND app = $2 AND version = $3
         RETURNING version, settings, updated_at"
    };
    let row: Option<AppSettingsRow> = sqlx::query_as(statement)
        .bind(user_id)
        .bind(app.stored_name())
        .bind(new.read_version)
        .bind(&new.settings)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|row| row.into_settings(app)))
}
