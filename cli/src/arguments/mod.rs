//! What several commands take: options and their values.

pub(crate) mod event_filter;
pub(crate) mod repeatable;
pub(crate) mod smoke_test;
