//! The table.

pub(crate) mod profiles;
