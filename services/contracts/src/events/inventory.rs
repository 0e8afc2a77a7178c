//! What inventory-service tells.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// The statuses of a stock result.
pub mod stock {
    /// The whole order is reserved.
    pub const RESERVED: &str = "RESERVED";
    /// At least one line is short, so nothing is reserved.
    pub const FAILED: &str = "FAILED_INSUFFICIENT_STOCK";
}

/// What an order lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingItem {
    /// The stock-keeping unit.
    pub sku: String,
    /// How many more it would take.
    pub missing_quantity: i64,
}

/// A whole order was reserved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockReserved {
    /// The order.
    pub order_id: String,
    /// The reservation.
    pub reservation_id: String,
    /// [`stock::RESERVED`].
    pub status: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for StockReserved {
    const TYPE: &'static str = "com.dundermifflin.inventory.stock.reserved.v1";
    const ROUTING_KEY: &'static str = "inventory.stock.reserved.v1";
    const SOURCE: &'static str = "/inventory-service";

    fn subject(&self) -> String {
        format!("order/{}", self.order_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.at
    }
}

/// An order could not be reserved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockFailed {
    /// The order.
    pub order_id: String,
    /// [`stock::FAILED`].
    pub status: String,
    /// What is short.
    pub missing_items: Vec<MissingItem>,
    /// When.
    pub at: DateTime<Utc>,
}

impl DomainEvent for StockFailed {
    const TYPE: &'static str = "com.dundermifflin.inventory.stock.failed.v1";
    const ROUTING_KEY: &'static str = "inventory.stock.failed.v1";
    const SOURCE: &'static str = "/inventory-service";

    fn subject(&self) -> String {
        format!("order/{}", self.order_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.at
    }
}

/// A shipment left the warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShipmentDispatched {
    /// The shipment.
    pub shipment_id: String,
    /// Its order.
    pub order_id: String,
    /// Who placed the order.
    pub order_created_by: String,
    /// Who sent it off.
    pub dispatched_by: String,
    /// By which truck.
    pub truck_id: String,
    /// When, as the client says.
    pub dispatched_at: DateTime<Utc>,
}

impl DomainEvent for ShipmentDispatched {
    const TYPE: &'static str = "com.dundermifflin.shipment.dispatched.v1";
    const ROUTING_KEY: &'static str = "shipment.dispatched.v1";
    const SOURCE: &'static str = "/inventory-service";

    fn subject(&self) -> String {
        format!("shipment/{}", self.shipment_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.dispatched_at
    }
}
