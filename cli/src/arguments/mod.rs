//! Options that several commands share.

pub(crate) mod event_filter;
pub(crate) mod repeatable;
pub(crate) mod smoke_test;
