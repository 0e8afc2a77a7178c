//! Shared types of `dm`: errors with their exit codes, instances of the stack and their labels,
//! the schemas of JSON documents, the configuration keys to which hints refer, the masking of
//! secrets, and the formats of numbers.

pub mod config_keys;
pub mod document;
pub mod error;
pub mod error_code;
pub mod instance;
pub mod labels;
pub mod mask;
pub mod number;
pub mod service_user;
pub mod suggest;
pub mod units;
