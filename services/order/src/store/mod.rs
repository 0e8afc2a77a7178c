//! Access to the database tables.

pub(crate) mod cancellation;
pub(crate) mod orders;
pub(crate) mod timeline;

#[cfg(test)]
mod server_tests;

use dm_contracts::api::order::OrderStatus;

/// Parses a status from a table.
fn parse_status(name: &str) -> Result<OrderStatus, sqlx::Error> {
    OrderStatus::from_name(name)
        .ok_or_else(|| sqlx::Error::Decode(format!("`{name}` is not a status of an order").into()))
}
