//! Access to the database tables.

pub(crate) mod app_settings;
pub(crate) mod avatars;
pub(crate) mod profiles;

#[cfg(test)]
mod server_tests;
