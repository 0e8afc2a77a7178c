//! The table `user_profiles`.

use chrono::{DateTime, Utc};
use dm_contracts::App;
use dm_contracts::api::profile::{Person, Preferences, Profile};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use crate::domain::ProfileSettings;

#[derive(Debug, FromRow)]
struct ProfileRow {
    user_id: String,
    full_name: String,
    email: String,
    title: String,
    phone: String,
    default_app: String,
    notifications_enabled: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<ProfileRow> for Profile {
    fn from(row: ProfileRow) -> Self {
        // A check constraint of the table permits no other names.
        let app = App::from_stored_name(&row.default_app).unwrap_or(App::Portal);
        Self {
            user_id: row.user_id,
            profile: Person {
                full_name: row.full_name,
                email: row.email,
                title: row.title,
                phone: row.phone,
            },
            preferences: Preferences {
                default_app: app.name().to_owned(),
                notifications_enabled: row.notifications_enabled,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Returns the profile of a user.
pub(crate) async fn find(pool: &PgPool, user_id: &str) -> Result<Option<Profile>, sqlx::Error> {
    let row: Option<ProfileRow> = sqlx::query_as("SELECT * FROM user_profiles WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(Profile::from))
}

/// Returns the full name of a user who has a profile.
pub(crate) async fn find_full_name(
    pool: &PgPool,
    user_id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT full_name FROM user_profiles WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(pool)
        .await
}

/// Inserts the initial profile of a user. An existing profile is unchanged.
pub(crate) async fn insert_if_absent(
    pool: &PgPool,
    user_id: &str,
    settings: &ProfileSettings,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO user_profiles (user_id, full_name, email, title, phone, default_app,
                                    notifications_enabled, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, statement_timestamp(), statement_timestamp())
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_id)
    .bind(&settings.full_name)
    .bind(&settings.email)
    .bind(&settings.title)
    .bind(&settings.phone)
    .bind(settings.default_app.stored_name())
    .bind(settings.notifications_enabled)
    .execute(pool)
    .await?;
    Ok(())
}

/// Inserts or replaces the profile of a user. The timestamps are from the clock of the database,
/// as is the retention of the event.
pub(crate) async fn save(
    transaction: &mut PgConnection,
    user_id: &str,
    settings: &ProfileSettings,
) -> Result<Profile, sqlx::Error> {
    let row: ProfileRow = sqlx::query_as(
        "INSERT INTO user_profiles AS saved
                (user_id, full_name, email, title, phone, default_app,
                 notifications_enabled, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, statement_timestamp(), statement_timestamp())
         ON CONFLICT (user_id) DO UPDATE
            SET full_name = excluded.full_name, email = excluded.email,
                title = excluded.title, phone = excluded.phone,
                default_app = excluded.default_app,
                notifications_enabled = excluded.notifications_enabled,
                -- A statement that waited for a concurrent one is the later one.
                updated_at = greatest(saved.updated_at, excluded.updated_at)
         RETURNING *",
    )
    .bind(user_id)
    .bind(&settings.full_name)
    .bind(&settings.email)
    .bind(&settings.title)
    .bind(&settings.phone)
    .bind(settings.default_app.stored_name())
    .bind(settings.notifications_enabled)
    .fetch_one(transaction)
    .await?;
    Ok(row.into())
}
