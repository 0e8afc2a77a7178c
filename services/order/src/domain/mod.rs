//! The rules, without database or wire.

pub(crate) mod placement;
pub(crate) mod progress;
pub(crate) mod shortage;
