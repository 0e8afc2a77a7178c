//! Bodies of inventory-service for the warehouse app.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::order::{OrderItem, OrderStatus};
use super::strict;

/// Status of a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ShipmentStatus {
    /// Loading has not begun.
    Pending,
    /// At least one parcel was scanned.
    Loading,
    /// The shipment left the warehouse.
    Dispatched,
    /// The stock of the order could not be reserved: there is nothing to ship.
    Failed,
    /// The order was cancelled before the shipment left.
    Cancelled,
}

impl ShipmentStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Loading,
        Self::Dispatched,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the name in bodies and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Loading => "LOADING",
            Self::Dispatched => "DISPATCHED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Returns the status with exactly this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A list of shipments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShipmentList {
    /// The shipments, oldest first unless another order is requested.
    pub items: Vec<Shipment>,
    /// Number of shipments in the whole list.
    pub total: usize,
    /// Cursor of the following shipments; `null` if there are none.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A shipment in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shipment {
    /// Id of the shipment.
    pub shipment_id: String,
    /// Id of its order.
    pub order_id: String,
    /// Id of the client who ordered.
    pub client_id: String,
    /// Status of the shipment.
    pub status: ShipmentStatus,
    /// Requested ship date.
    pub requested_ship_date: NaiveDate,
    /// Time of the order.
    pub created_at: DateTime<Utc>,
    /// The items.
    pub items: Vec<OrderItem>,
}

/// Request that records the scan of a parcel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scan {
    /// Text of the barcode, e.g. `SKU:PPR-A4-WHT-500`. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 200)]
    pub barcode: Option<String>,
    /// Quantity, at least one. Required.
    #[serde(default, deserialize_with = "strict::whole_number")]
    #[schema(value_type = i32, minimum = 1, maximum = 2147483647, required)]
    pub quantity: Option<i32>,
}

/// Result of the scan of a parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scanned {
    /// Id of the shipment.
    pub shipment_id: String,
    /// Id of its order.
    pub order_id: String,
    /// Status of the shipment.
    pub status: ShipmentStatus,
    /// The recorded scan.
    pub last_scan: LastScan,
}

/// A recorded scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastScan {
    /// Text of the barcode.
    pub barcode: String,
    /// Quantity.
    pub quantity: i32,
    /// The user who scanned it.
    pub scanned_by: String,
    /// Time of the scan by the clock of the service.
    pub scanned_at: DateTime<Utc>,
}

/// Request to dispatch a shipment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    /// Id of the truck. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 100)]
    pub truck_id: Option<String>,
    /// Time of the dispatch as an ISO-8601 instant with an offset, in the years 2 to 9998,
    /// or 1 to 9999 in UTC. Required.
    #[schema(
        value_type = String,
        format = DateTime,
        // The years, and no leap second. The format states the rest.
        pattern = r"^(?:(?:000[2-9]|00[1-9]|0[1-9]|[1-8]|9[0-8]|99[0-8]|999[0-8])[0-9]*-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5]|(?:0001|9999)-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5].*(?:[Zz]|[+-]00:00)$)"
    )]
    pub dispatched_at: Option<String>,
}

/// Result of the dispatch of a shipment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispatched {
    /// Id of the shipment.
    pub shipment_id: String,
    /// Id of its order.
    pub order_id: String,
    /// Status of the shipment.
    pub shipment_status: ShipmentStatus,
    /// Status that the order has, or gets once the event is processed.
    pub order_status: OrderStatus,
    /// Time of the dispatch, as the client sent it.
    pub dispatched_at: DateTime<Utc>,
    /// The user who dispatched it.
    pub dispatched_by: String,
    /// Id of the dispatch: `dsp_` and 32 hexadecimal digits.
    pub dispatch_id: String,
    /// Id of the truck.
    pub truck_id: String,
    /// Whether it was dispatched before this request.
    pub already_dispatched: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipment_status_has_one_name_in_json_and_tables() {
        for status in ShipmentStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(ShipmentStatus::from_name(status.as_str()), Some(status));
        }
    }
}
