//! The bodies of the REST interface (`docs/contracts/rest_api_v1.md`), one module per service.

pub mod auth;
pub mod error;
pub mod finance;
pub mod list;
pub mod notification;
pub mod order;
pub mod parameters;
pub mod profile;
pub mod sales;
mod schema;
pub mod shipment;
pub mod stock;
mod strict;
