//! What order-service tells.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;
use crate::api::order::OrderItem;

/// An order was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// The order.
    pub order_id: String,
    /// Who ordered.
    pub client_id: String,
    /// When the client wants it.
    pub requested_ship_date: NaiveDate,
    /// What, at least one line.
    pub items: Vec<OrderItem>,
    /// The user who placed it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl DomainEvent for OrderCreated {
    const TYPE: &'static str = "com.dundermifflin.order.created.v1";
    const ROUTING_KEY: &'static str = "order.created.v1";
    const SOURCE: &'static str = "/order-service";

    fn subject(&self) -> String {
        format!("order/{}", self.order_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.created_at
    }
}

/// An order moved on after it was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatusChanged {
    /// The order.
    pub order_id: String,
    /// Its new status.
    pub status: String,
    /// Why, where it failed.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for OrderStatusChanged {
    const TYPE: &'static str = "com.dundermifflin.order.status.changed.v1";
    const ROUTING_KEY: &'static str = "order.status.changed.v1";
    const SOURCE: &'static str = "/order-service";

    fn subject(&self) -> String {
        format!("order/{}", self.order_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.at
    }
}
