//! The bodies of the REST interface (`docs/contracts/rest.md`), a file a service.

pub mod error;
pub mod order;
pub mod shipment;
pub mod stock;
