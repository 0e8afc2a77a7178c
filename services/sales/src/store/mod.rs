//! Access to the database tables.

pub(crate) mod clients;
pub(crate) mod leads;
