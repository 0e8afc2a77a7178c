//! What every part of `dm` speaks of: failures with their exit codes, instances of the stack and
//! the labels of what belongs to them, and the keys of the configuration that hints name.

pub mod error;
pub mod instance;
pub mod keys;
pub mod labels;
pub mod service_user;
pub mod units;
