//! The bodies of inventory-service that tell of products and stock. No client of
//! the contract uses them: they are for tools.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProductList {
    /// The products by SKU.
    pub items: Vec<Product>,
    /// How many these are.
    pub total: usize,
}

/// A product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// The stock-keeping unit.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// The part of the catalogue.
    pub category: String,
    /// What one is: `ream`, `box`, `each`.
    pub unit: String,
    /// The list price of one in US dollars.
    pub price: f64,
}

/// The whole stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockList {
    /// The levels by SKU.
    pub items: Vec<StockLevel>,
    /// How many these are.
    pub total: usize,
}

/// How much there is of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockLevel {
    /// The stock-keeping unit.
    pub sku: String,
    /// What is in the building, what is reserved included.
    pub on_hand: i64,
    /// What is promised to orders.
    pub reserved: i64,
    /// What can still be promised.
    pub available: i64,
    /// What left the building so far.
    pub shipped: i64,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}
