//! Bodies of inventory-service for products and stock. The sales app suggests products; the stock
//! is for tools.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The product catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductList {
    /// The products, ordered by SKU.
    pub items: Vec<Product>,
    /// Number of products in the whole list.
    pub total: usize,
    /// Cursor of the following products; `null` if there are none.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// The stock-keeping unit.
    pub sku: String,
    /// Name of the product.
    pub name: String,
    /// Category of the catalogue.
    pub category: String,
    /// Unit of sale: `ream`, `box`, `each`.
    pub unit: String,
    /// List price of one unit in US dollars.
    pub price: f64,
}

/// The stock of all products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockList {
    /// The stock levels, ordered by SKU.
    pub items: Vec<StockLevel>,
    /// Number of stock levels in the whole list.
    pub total: usize,
    /// Cursor of the following stock levels; `null` if there are none.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// Stock level of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockLevel {
    /// The stock-keeping unit.
    pub sku: String,
    /// Quantity in the warehouse, including the reserved quantity.
    pub on_hand: i64,
    /// Quantity reserved for orders.
    pub reserved: i64,
    /// Quantity that can still be reserved.
    pub available: i64,
    /// Quantity shipped so far.
    pub shipped: i64,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
}
