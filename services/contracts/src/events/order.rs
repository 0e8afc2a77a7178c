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

/// An order was cancelled. It contains the order, because a consumer may receive it before
/// [`OrderCreated`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
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
    /// The user who cancelled it.
    pub cancelled_by: String,
    /// Reason for which it was cancelled.
    pub reason: Option<String>,
    /// Time of the cancellation.
    pub cancelled_at: DateTime<Utc>,
}

impl DomainEvent for OrderCancelled {
    const TYPE: &'static str = "com.dundermifflin.order.cancelled.v1";
    const ROUTING_KEY: &'static str = "order.cancelled.v1";
    const SOURCE: &'static str = "/order-service";

    fn subject(&self) -> String {
        format!("order/{}", self.order_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.cancelled_at
    }
}

/// A cancelled order is shipped, because its shipment left before the cancellation arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderReinstated {
    /// Id of the order.
    pub order_id: String,
    /// Id of the shipment that left.
    pub shipment_id: String,
    /// The user who placed the order.
    pub created_by: String,
    /// Time at which order-service processed the dispatch.
    pub at: DateTime<Utc>,
}

impl DomainEvent for OrderReinstated {
    const TYPE: &'static str = "com.dundermifflin.order.reinstated.v1";
    const ROUTING_KEY: &'static str = "order.reinstated.v1";
    const SOURCE: &'static str = "/order-service";

    fn subject(&self) -> String {
        format!("order/{}", self.order_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.at
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
    /// Reason of a failure or a cancellation.
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
