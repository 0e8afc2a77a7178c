//! The table.

pub(crate) mod expenses;
