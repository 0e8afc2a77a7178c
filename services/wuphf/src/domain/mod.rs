//! The rules.

mod facts;
mod telling;

pub(crate) use facts::Missing;
pub(crate) use telling::{Draft, Telling, telling};
