//! Access to the database table.

pub(crate) mod notifications;

#[cfg(test)]
mod server_tests;
