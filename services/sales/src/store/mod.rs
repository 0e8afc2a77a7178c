//! The tables.

pub(crate) mod clients;
pub(crate) mod leads;
