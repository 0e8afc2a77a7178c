//! An engine where there is none: installs Docker with consent, and starts it with or without
//! an init system.

pub mod daemon;
pub mod setup;
