//! The bodies of inventory-service that the warehouse uses.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::order::{OrderItem, OrderStatus};

/// How far a shipment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ShipmentStatus {
    /// To be loaded.
    Pending,
    /// At least one parcel was scanned.
    Loading,
    /// It left the warehouse.
    Dispatched,
    /// Its order could not be reserved: there is nothing to send.
    Failed,
}

impl ShipmentStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Loading, Self::Dispatched, Self::Failed];

    /// The word for it in bodies and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Loading => "LOADING",
            Self::Dispatched => "DISPATCHED",
            Self::Failed => "FAILED",
        }
    }

    /// The status of that word, letter for letter.
    #[must_use]
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// All shipments that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShipmentList {
    /// The shipments, oldest first.
    pub items: Vec<Shipment>,
    /// How many these are.
    pub total: usize,
}

/// A shipment in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shipment {
    /// The shipment.
    pub shipment_id: String,
    /// Its order.
    pub order_id: String,
    /// Who ordered.
    pub client_id: String,
    /// How far it is.
    pub status: ShipmentStatus,
    /// When the client wants it.
    pub requested_ship_date: NaiveDate,
    /// When the order was placed.
    pub created_at: DateTime<Utc>,
    /// What is in it.
    pub items: Vec<OrderItem>,
}

/// Scans a parcel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scan {
    /// What the label says, e.g. `SKU:PPR-A4-WHT-500`. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub barcode: Option<String>,
    /// How many, at least one. Required.
    #[schema(value_type = i32, minimum = 1)]
    pub quantity: Option<i32>,
}

/// A parcel was scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scanned {
    /// The shipment.
    pub shipment_id: String,
    /// Its order.
    pub order_id: String,
    /// How far the shipment is.
    pub status: ShipmentStatus,
    /// What was scanned.
    pub last_scan: LastScan,
}

/// What was scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastScan {
    /// What the label says.
    pub barcode: String,
    /// How many.
    pub quantity: i32,
    /// Who scanned it.
    pub scanned_by: String,
    /// When, by the service's clock.
    pub scanned_at: DateTime<Utc>,
}

/// Sends a shipment off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    /// By which truck. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub truck_id: Option<String>,
    /// When, as an ISO-8601 instant. Required.
    #[schema(value_type = DateTime<Utc>)]
    pub dispatched_at: Option<String>,
}

/// A shipment was sent off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispatched {
    /// The shipment.
    pub shipment_id: String,
    /// Its order.
    pub order_id: String,
    /// How far the shipment is.
    pub shipment_status: ShipmentStatus,
    /// How far the order is, or will be in a moment.
    pub order_status: OrderStatus,
    /// When it was sent off, as the client said.
    pub dispatched_at: DateTime<Utc>,
    /// Who sent it off.
    pub dispatched_by: String,
    /// The dispatch, `dsp_` and 32 hexadecimal digits.
    pub dispatch_id: String,
    /// By which truck.
    pub truck_id: String,
    /// Whether it had been sent off before.
    pub already_dispatched: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_word_everywhere() {
        for status in ShipmentStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(ShipmentStatus::from_name(status.as_str()), Some(status));
        }
    }
}
