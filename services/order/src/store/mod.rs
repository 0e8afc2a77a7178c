//! The tables.

pub(crate) mod orders;
pub(crate) mod timeline;

use dm_contracts::api::order::OrderStatus;

/// A status as it stands in a table.
fn parse_status(word: &str) -> Result<OrderStatus, sqlx::Error> {
    OrderStatus::from_name(word)
        .ok_or_else(|| sqlx::Error::Decode(format!("`{word}` is not a status of an order").into()))
}
