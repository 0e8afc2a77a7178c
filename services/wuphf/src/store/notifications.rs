//! The table `notifications`.

use chrono::{DateTime, Utc};
use dm_contracts::api::notification::Notification;
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use crate::domain::NotificationDraft;

/// The maximum number of notifications in a list.
const MAX_LISTED: i64 = 100;

#[derive(Debug, FromRow)]
struct NotificationRow {
    notification_id: String,
    user_id: String,
    kind: String,
    title: String,
    body: String,
    deep_link: String,
    is_read: bool,
    created_at: DateTime<Utc>,
    read_at: Option<DateTime<Utc>>,
}

impl From<NotificationRow> for Notification {
    fn from(row: NotificationRow) -> Self {
        Self {
            notification_id: row.notification_id,
            user_id: row.user_id,
            kind: row.kind,
            title: row.title,
            body: row.body,
            deep_link: row.deep_link,
            is_read: row.is_read,
            created_at: row.created_at,
            read_at: row.read_at,
        }
    }
}

/// Inserts a notification. Returns `None` if the user has one for this event.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    draft: &NotificationDraft,
    event_id: &str,
) -> Result<Option<Notification>, sqlx::Error> {
    let row: Option<NotificationRow> = sqlx::query_as(
        "INSERT INTO notifications (user_id, kind, title, body, deep_link, created_at,
                                    source_event_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_id, source_event_id) WHERE source_event_id IS NOT NULL DO NOTHING
         RETURNING *",
    )
    .bind(&draft.user_id)
    .bind(draft.kind)
    .bind(&draft.title)
    .bind(&draft.body)
    .bind(&draft.deep_link)
    .bind(draft.created_at)
    .bind(event_id)
    .fetch_optional(transaction)
    .await?;
    Ok(row.map(Notification::from))
}

/// Returns the newest notifications of a user, newest first, optionally only unread ones.
pub(crate) async fn list(
    pool: &PgPool,
    user_id: &str,
    unread_only: bool,
) -> Result<Vec<Notification>, sqlx::Error> {
    // Separate statements, so that each uses its own index.
    let statement = if unread_only {
        "SELECT * FROM notifications
          WHERE user_id = $1 AND is_read = false
          ORDER BY created_at DESC, notification_id DESC LIMIT $2"
    } else {
        "SELECT * FROM notifications
          WHERE user_id = $1
          ORDER BY created_at DESC, notification_id DESC LIMIT $2"
    };
    let rows: Vec<NotificationRow> = sqlx::query_as(statement)
        .bind(user_id)
        .bind(MAX_LISTED)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(Notification::from).collect())
}

/// Marks a notification of a user as read. A repetition keeps the first timestamp. Returns `None`
/// if the user has no such notification.
pub(crate) async fn mark_read(
    pool: &PgPool,
    id: &str,
    user_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Notification>, sqlx::Error> {
    let row: Option<NotificationRow> = sqlx::query_as(
        "UPDATE notifications
            SET is_read = true, read_at = coalesce(read_at, $3)
          WHERE notification_id = $1 AND user_id = $2
         RETURNING *",
    )
    .bind(id)
    .bind(user_id)
    .bind(now)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Notification::from))
}
