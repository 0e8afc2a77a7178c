//! Access to the database tables.

pub(crate) mod clients;
pub(crate) mod leads;

#[cfg(test)]
mod server_tests;
