//! Domain rules, independent of database and HTTP.

pub(crate) mod dispatch;
pub(crate) mod idempotency_key;
pub(crate) mod product;
pub(crate) mod scan;
pub(crate) mod shipment;
pub(crate) mod stock;
