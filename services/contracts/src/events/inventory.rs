//! Events of inventory-service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// Statuses of a stock result.
pub mod stock {
    /// The whole order is reserved.
    pub const RESERVED: &str = "RESERVED";
    /// The stock of at least one item is insufficient, so nothing is reserved.
    pub const FAILED: &str = "FAILED_INSUFFICIENT_STOCK";
}

/// An item of an order with insufficient stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingItem {
    /// The stock-keeping unit.
    pub sku: String,
    /// Quantity that is missing.
    pub missing_quantity: i64,
}

/// A whole order was reserved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockReserved {
    /// Id of the order.
    pub order_id: String,
    /// Id of the reservation.
    pub reservation_id: String,
    /// [`stock::RESERVED`].
    pub status: String,
    /// Time of the stock result.
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
    /// Id of the order.
    pub order_id: String,
    /// [`stock::FAILED`].
    pub status: String,
    /// The items with insufficient stock.
    pub missing_items: Vec<MissingItem>,
    /// Time of the stock result.
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

/// The first parcel of an order was scanned. The subject is the order, so that the event follows
/// the stock result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PickingStarted {
    /// Id of the order.
    pub order_id: String,
    /// Id of its shipment.
    pub shipment_id: String,
    /// The user who scanned the parcel.
    pub scanned_by: String,
    /// Time of the scan.
    pub at: DateTime<Utc>,
}

impl DomainEvent for PickingStarted {
    const TYPE: &'static str = "com.dundermifflin.inventory.picking.started.v1";
    const ROUTING_KEY: &'static str = "inventory.picking.started.v1";
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
    /// Id of the shipment.
    pub shipment_id: String,
    /// Id of its order.
    pub order_id: String,
    /// The user who placed the order.
    pub order_created_by: String,
    /// The user who dispatched it.
    pub dispatched_by: String,
    /// Id of the truck.
    pub truck_id: String,
    /// Time of the dispatch, as the client sent it.
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
