//! wuphf-service: notifications.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a user is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// `ntf_` and a number.
    pub notification_id: String,
    /// Who is told.
    pub user_id: String,
    /// `ORDER_PLACED`, `SHIPMENT_DISPATCHED` or `EXPENSE_DECIDED`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The rest.
    pub body: String,
    /// Where it leads, below the gateway.
    pub deep_link: String,
    /// Whether the user has read it.
    pub is_read: bool,
    /// When the thing happened.
    pub created_at: DateTime<Utc>,
    /// When it was first read.
    pub read_at: Option<DateTime<Utc>>,
}

/// The newest notifications of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notifications {
    /// Newest first, at most 100.
    pub items: Vec<Notification>,
    /// How many these are.
    pub total: u64,
    /// How many of these are unread.
    pub unread_count: u64,
}
