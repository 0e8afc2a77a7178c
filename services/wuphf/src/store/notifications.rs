//! The table `notifications`.

use chrono::{DateTime, Utc};
use dm_contracts::api::notification::Notification;
use dm_kit::http::{ListFilter, ListOrder, TableList, TimeKey};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use crate::domain::NotificationDraft;

/// A row of the table.
#[derive(Debug, FromRow)]
pub(crate) struct NotificationRow {
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

/// The list of the notifications of a user, newest first, optionally only of unread ones.
pub(crate) struct NotificationListSource {
    pub(crate) user_id: String,
    pub(crate) unread_only: bool,
}

impl TableList for NotificationListSource {
    type Row = NotificationRow;
    type Item = Notification;
    type Key = TimeKey;

    const TABLE: &'static str = "notifications";
    const COLUMNS: &'static str = "*";
    const ID: &'static str = "notification_id";
    const ORDER: ListOrder = ListOrder::NewestFirst;

    fn filter(&self) -> ListFilter {
        ListFilter::all()
            .equal("user_id", Some(&self.user_id))
            .condition("is_read = false", self.unread_only)
    }

    fn item(row: NotificationRow) -> Result<Notification, sqlx::Error> {
        Ok(row.into())
    }

    fn key(notification: &Notification) -> TimeKey {
        TimeKey {
            created_at: notification.created_at,
            id: notification.notification_id.clone(),
        }
    }
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
