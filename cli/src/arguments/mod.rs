//! What several commands take: options and their values.

pub(crate) mod events;
pub(crate) mod proof;
pub(crate) mod repeatable;
