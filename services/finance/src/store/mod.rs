//! Access to the database table.

pub(crate) mod expenses;
