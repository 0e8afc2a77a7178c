//! The bodies of the REST interface (`docs/contracts/rest.md`), a file a service.

pub mod auth;
pub mod error;
