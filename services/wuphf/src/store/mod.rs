//! The table.

pub(crate) mod notifications;
