//! The rules, without database or wire.

pub(crate) mod placement;
pub(crate) mod shortage;
pub(crate) mod transition;
