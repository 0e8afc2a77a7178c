//! Installs Docker with consent if no engine answers, and starts it with or without an init
//! system.

pub mod daemon;
pub mod engine_setup;
