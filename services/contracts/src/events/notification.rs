//! Events of wuphf-service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// A notification was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationCreated {
    /// Id of the notification.
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
    /// Time of the notification.
    pub created_at: DateTime<Utc>,
}

impl DomainEvent for NotificationCreated {
    const TYPE: &'static str = "com.dundermifflin.notification.created.v1";
    const ROUTING_KEY: &'static str = "notification.created.v1";
    const SOURCE: &'static str = "/wuphf-service";

    fn subject(&self) -> String {
        format!("notification/{}", self.notification_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.created_at
    }
}
