//! Domain rules, independent of database and HTTP.

pub(crate) mod cancellation;
pub(crate) mod dispatch;
pub(crate) mod idempotency_key;
#[cfg(test)]
mod interleavings;
pub(crate) mod product;
pub(crate) mod scan;
pub(crate) mod shipment;
pub(crate) mod stock;
