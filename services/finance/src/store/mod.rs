//! Access to the database table.

pub(crate) mod expenses;

#[cfg(test)]
mod server_tests;
