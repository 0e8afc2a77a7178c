//! Options that several commands share.

pub(crate) mod event_filter;
pub(crate) mod period;
pub(crate) mod repeatable;
pub(crate) mod smoke_test;

/// The largest number of events, messages or lines that an option accepts.
pub(crate) const MAX_COUNT: u32 = 1_000_000_000;
