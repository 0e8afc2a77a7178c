//! Bodies of wuphf-service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A notification of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Id of the notification: `ntf_` and a number.
    pub notification_id: String,
    /// The user who receives it.
    pub user_id: String,
    /// `ORDER_PLACED`, `SHIPMENT_DISPATCHED`, `ORDER_CANCELLED`, `ORDER_REINSTATED` or
    /// `EXPENSE_DECIDED`.
    pub kind: String,
    /// Title of one line.
    pub title: String,
    /// Text of the notification.
    pub body: String,
    /// Path of the page it links to, relative to the gateway.
    pub deep_link: String,
    /// Whether the user has read it.
    pub is_read: bool,
    /// Time of the event that it is about.
    pub created_at: DateTime<Utc>,
    /// Time when it was first read.
    pub read_at: Option<DateTime<Utc>>,
}

/// The newest notifications of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notifications {
    /// The notifications, newest first unless another order is requested. Without `limit` at most
    /// 100.
    pub items: Vec<Notification>,
    /// Number of notifications in this list; with `limit` or `cursor`, of all notifications that
    /// fulfil the filter, which may be two seconds old.
    pub total: u64,
    /// Number of unread notifications in this list; with `limit` or `cursor`, of all unread
    /// notifications of the user.
    pub unread_count: u64,
    /// Cursor of the following notifications; `null` if there are none.
    #[serde(default)]
    pub next_cursor: Option<String>,
}
