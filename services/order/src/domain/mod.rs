//! Domain rules, independent of database and HTTP.

pub(crate) mod cancellation;
pub(crate) mod placement;
pub(crate) mod shortage;
pub(crate) mod transition;
