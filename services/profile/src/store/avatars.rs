//! The table `avatars`.

use sqlx::FromRow;
use sqlx::postgres::PgPool;

/// An uploaded avatar.
#[derive(Debug, FromRow)]
pub(crate) struct StoredAvatar {
    pub(crate) png: Vec<u8>,
    /// The SHA-256 of the image, in hexadecimal digits.
    pub(crate) etag: String,
}

/// Returns the uploaded avatar of a user.
pub(crate) async fn find(
    pool: &PgPool,
    user_id: &str,
) -> Result<Option<StoredAvatar>, sqlx::Error> {
    sqlx::query_as("SELECT png, etag FROM avatars WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(pool)
        .await
}

/// Inserts or replaces the avatar of a user, and returns its entity tag.
pub(crate) async fn save(pool: &PgPool, user_id: &str, png: &[u8]) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO avatars AS saved (user_id, png, updated_at)
         VALUES ($1, $2, statement_timestamp())
         ON CONFLICT (user_id) DO UPDATE
            SET png = excluded.png,
                -- A statement that waited for a concurrent one is the later one.
                updated_at = greatest(saved.updated_at, excluded.updated_at)
         RETURNING etag",
    )
    .bind(user_id)
    .bind(png)
    .fetch_one(pool)
    .await
}

/// Removes the avatar of a user, if there is one.
pub(crate) async fn delete(pool: &PgPool, user_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM avatars WHERE user_id = $1")
        .bind(user_id)
        .execute(pool)
        .await?;
    Ok(())
}
