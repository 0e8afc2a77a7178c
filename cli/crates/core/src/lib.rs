//! What every part of `dm` speaks of: failures with their exit codes, instances of the stack and
//! the labels of what belongs to them, the keys of the configuration that hints name, and how
//! secrets are masked.

pub mod config_keys;
pub mod document;
pub mod error;
pub mod error_code;
pub mod instance;
pub mod labels;
pub mod mask;
pub mod service_user;
pub mod suggest;
pub mod units;
