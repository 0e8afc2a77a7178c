//! The bodies of order-service.

use chrono::{DateTime, NaiveDate, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How far an order is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// It was placed.
    Created,
    /// All of it is reserved.
    Reserved,
    /// Reserved as a word: nothing sets it.
    Picking,
    /// At least one line is short.
    FailedInsufficientStock,
    /// Reserved as a word: nothing sets it.
    Cancelled,
    /// It left the warehouse.
    Shipped,
}

impl OrderStatus {
    /// Every status.
    pub(crate) const ALL: [Self; 6] = [
        Self::Created,
        Self::Reserved,
        Self::Picking,
        Self::FailedInsufficientStock,
        Self::Cancelled,
        Self::Shipped,
    ];

    /// The word for it in bodies, events and tables.
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

    /// The status of that word, letter for letter.
    #[must_use]
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Asks for an order. Everything is optional, so that all that is missing can be
/// told at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaceOrder {
    /// Who orders. Required.
    #[schema(value_type = String, pattern = r"\S", max_length = 200)]
    pub client_id: Option<String>,
    /// When the client wants it, as `YYYY-MM-DD`. Required.
    #[schema(value_type = NaiveDate)]
    pub requested_ship_date: Option<String>,
    /// What, at least one line. Required.
    #[serde(default, deserialize_with = "lines")]
    #[schema(value_type = Vec<PlaceOrderItem>, min_items = 1)]
    pub items: Option<Vec<Option<PlaceOrderItem>>>,
    /// Anything else.
    pub notes: Option<String>,
}

/// A line of an order that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlaceOrderItem {
    /// The stock-keeping unit. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub sku: Option<String>,
    /// How many, at least one. Required.
    #[schema(value_type = i32, minimum = 1)]
    pub quantity: Option<i32>,
}

/// Reads lines that are objects or `null`. By itself serde would also take a list
/// of an object's fields for one.
fn lines<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Option<PlaceOrderItem>>>, D::Error> {
    let Some(values) = Option::<Vec<Value>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let line = |value: Value| match value {
        Value::Null | Value::Object(_) => Option::deserialize(value).map_err(D::Error::custom),
        _ => Err(D::Error::custom("a line of an order is not an object")),
    };
    values
        .into_iter()
        .map(line)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// An order was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    /// The order.
    pub order_id: String,
    /// Its status.
    pub status: OrderStatus,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
}

/// A line of an order: in bodies, events and tables, also in those of its shipment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderItem {
    /// The stock-keeping unit.
    pub sku: String,
    /// How many.
    pub quantity: i64,
}

/// All orders that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderList {
    /// The orders, oldest first.
    pub items: Vec<OrderSummary>,
    /// How many these are.
    pub total: usize,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderSummary {
    /// The order.
    pub order_id: String,
    /// Who ordered.
    pub client_id: String,
    /// How far it is.
    pub status: OrderStatus,
    /// When the client wants it.
    pub requested_ship_date: NaiveDate,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderDetail {
    /// The order.
    pub order_id: String,
    /// Who ordered.
    pub client_id: String,
    /// When the client wants it.
    pub requested_ship_date: NaiveDate,
    /// What.
    pub items: Vec<OrderItem>,
    /// Anything else, perhaps empty.
    pub notes: String,
    /// The user who placed it.
    pub created_by: String,
    /// How far it is.
    pub status: OrderStatus,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// Its shipment, once it was sent off.
    pub shipment_id: Option<String>,
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderTimeline {
    /// The order.
    pub order_id: String,
    /// What happened, earliest first.
    pub events: Vec<TimelineEntry>,
}

/// One thing that happened to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// What it was.
    pub status: OrderStatus,
    /// When.
    pub at: DateTime<Utc>,
    /// The service that says so.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_word_everywhere() {
        for status in OrderStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(OrderStatus::from_name(status.as_str()), Some(status));
        }
        assert_eq!(OrderStatus::from_name("shipped"), None);
    }

    #[test]
    fn lines_are_objects() {
        let items = |text: &str| {
            serde_json::from_str::<PlaceOrder>(text)
                .map(|order| order.items)
                .map_err(drop)
        };
        assert_eq!(items("{}"), Ok(None));
        assert_eq!(items(r#"{"items":null}"#), Ok(None));
        let read = items(r#"{"items":[null,{"sku":"A","quantity":2}]}"#);
        let line = PlaceOrderItem {
            sku: Some("A".into()),
            quantity: Some(2),
        };
        assert_eq!(read, Ok(Some(vec![None, Some(line)])));
        for wrong in [r#"[["A",2]]"#, "[7]", "{}", "\"A\"", r#"[{"sku":7}]"#] {
            assert_eq!(
                items(&format!(r#"{{"items":{wrong}}}"#)),
                Err(()),
                "{wrong}"
            );
        }
    }
}
