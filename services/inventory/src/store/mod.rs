//! Access to the database tables.

pub(crate) mod idempotency;
pub(crate) mod products;
pub(crate) mod reservations;
pub(crate) mod scans;
pub(crate) mod shipments;
pub(crate) mod stock;

#[cfg(test)]
mod server_tests;
