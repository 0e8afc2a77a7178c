//! Events of order-service.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;
use crate::api::order::OrderItem;

/// An order was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// Id of the order.
    pub order_id: String,
    /// Id of the client who ordered.
    pub client_id: String,
    /// Ship date that the client requested.
    pub requested_ship_date: NaiveDate,
    /// The items, at least one.
    pub items: Vec<OrderItem>,
    /// The user who placed it.
    pub created_by: String,
    /// Time of the order.
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

/// The status of an order changed after it was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatusChanged {
    /// Id of the order.
    pub order_id: String,
    /// The new status.
    pub status: String,
    /// Reason of a failure.
    pub reason: Option<String>,
    /// Time of the change.
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
