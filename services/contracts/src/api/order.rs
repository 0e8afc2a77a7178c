//! Bodies of order-service.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::strict;

/// Status of an order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// The order was placed.
    Created,
    /// All items are reserved.
    Reserved,
    /// The first parcel of its shipment was scanned.
    Picking,
    /// The stock of at least one item is insufficient.
    FailedInsufficientStock,
    /// The order was cancelled. It becomes `SHIPPED` only if its shipment left first.
    Cancelled,
    /// The order left the warehouse.
    Shipped,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Reserved,
        Self::Picking,
        Self::FailedInsufficientStock,
        Self::Cancelled,
        Self::Shipped,
    ];

    /// Returns the name in bodies, events and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Reserved => "RESERVED",
            Self::Picking => "PICKING",
            Self::FailedInsufficientStock => "FAILED_INSUFFICIENT_STOCK",
            Self::Cancelled => "CANCELLED",
            Self::Shipped => "SHIPPED",
        }
    }

    /// Returns the status with exactly this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Request to place an order. All fields are optional, so that all missing ones can be
/// reported at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaceOrder {
    /// Id of the client who orders. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 200)]
    pub client_id: Option<String>,
    /// Requested ship date as `YYYY-MM-DD`, in the years 1 to 9999. Required.
    #[schema(value_type = String, format = Date, pattern = "^0{0,3}[1-9]")]
    pub requested_ship_date: Option<String>,
    /// The items, 1 to 1000. Required.
    #[serde(default, deserialize_with = "strict::objects")]
    #[schema(value_type = Vec<PlaceOrderItem>, min_items = 1, max_items = 1000, required)]
    pub items: Option<Vec<Option<PlaceOrderItem>>>,
    /// Notes.
    #[schema(pattern = r"^[^\x00]*$", max_length = 4000)]
    pub notes: Option<String>,
}

/// An item of a request to place an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaceOrderItem {
    /// The stock-keeping unit. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 100)]
    pub sku: Option<String>,
    /// Quantity, at least one. Required.
    #[serde(default, deserialize_with = "strict::whole_number")]
    #[schema(value_type = i32, minimum = 1, maximum = 2147483647, required)]
    pub quantity: Option<i32>,
}

/// Response to the request to place an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    /// Id of the order.
    pub order_id: String,
    /// Status of the order.
    pub status: OrderStatus,
    /// Time of the order.
    pub created_at: DateTime<Utc>,
}

/// Request to cancel an order. A request without a body has no reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelOrder {
    /// Reason for which the order is cancelled.
    #[schema(pattern = r"^[^\x00]*$", max_length = 500)]
    pub reason: Option<String>,
}

/// Response to the request to cancel an order. A repetition returns the first cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelledOrder {
    /// Id of the order.
    pub order_id: String,
    /// Status of the order.
    pub status: OrderStatus,
    /// Time of the cancellation.
    pub cancelled_at: DateTime<Utc>,
    /// The user who cancelled it.
    pub cancelled_by: String,
    /// Reason for which it was cancelled.
    pub cancel_reason: Option<String>,
}

/// An item of an order or of its shipment, in bodies, events and tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderItem {
    /// The stock-keeping unit.
    pub sku: String,
    /// Quantity.
    pub quantity: i64,
}

/// A list of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderList {
    /// The orders, oldest first unless another order is requested.
    pub items: Vec<OrderSummary>,
    /// Number of orders in the whole list.
    pub total: usize,
    /// Cursor of the following orders; `null` if there are none.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderSummary {
    /// Id of the order.
    pub order_id: String,
    /// Id of the client who ordered.
    pub client_id: String,
    /// Status of the order.
    pub status: OrderStatus,
    /// Requested ship date.
    pub requested_ship_date: NaiveDate,
    /// Time of the order.
    pub created_at: DateTime<Utc>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderDetail {
    /// Id of the order.
    pub order_id: String,
    /// Id of the client who ordered.
    pub client_id: String,
    /// Requested ship date.
    pub requested_ship_date: NaiveDate,
    /// The items.
    pub items: Vec<OrderItem>,
    /// Notes, or empty.
    pub notes: String,
    /// The user who placed it.
    pub created_by: String,
    /// Status of the order.
    pub status: OrderStatus,
    /// Time of the order.
    pub created_at: DateTime<Utc>,
    /// Id of its shipment, once it was dispatched.
    pub shipment_id: Option<String>,
    /// Time of the cancellation, if it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// The user who cancelled it.
    pub cancelled_by: Option<String>,
    /// Reason for which it was cancelled.
    pub cancel_reason: Option<String>,
}

/// The timeline of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderTimeline {
    /// Id of the order.
    pub order_id: String,
    /// The entries, oldest first.
    pub events: Vec<TimelineEntry>,
}

/// A change of the status of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// The new status.
    pub status: OrderStatus,
    /// Time of the change.
    pub at: DateTime<Utc>,
    /// The service that reported it.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_status_has_one_name_in_json_and_tables() {
        for status in OrderStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(OrderStatus::from_name(status.as_str()), Some(status));
        }
        assert_eq!(OrderStatus::from_name("shipped"), None);
    }

    #[test]
    fn order_item_that_is_not_an_object_is_rejected() {
        let items = |text: &str| {
            serde_json::from_str::<PlaceOrder>(text)
                .map(|order| order.items)
                .map_err(drop)
        };
        assert_eq!(items("{}"), Ok(None));
        assert_eq!(items(r#"{"items":null}"#), Ok(None));
        let parsed = items(r#"{"items":[null,{"sku":"A","quantity":2}]}"#);
        let item = PlaceOrderItem {
            sku: Some("A".into()),
            quantity: Some(2),
        };
        assert_eq!(parsed, Ok(Some(vec![None, Some(item)])));
        for wrong in [r#"[["A",2]]"#, "[7]", "{}", "\"A\"", r#"[{"sku":7}]"#] {
            assert_eq!(
                items(&format!(r#"{{"items":{wrong}}}"#)),
                Err(()),
                "{wrong}"
            );
        }
    }
}
