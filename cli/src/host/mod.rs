//! The machine that `dm` runs on: facts about it, and the few changes to it
//! that `dm` makes with consent.

pub mod consent;
pub mod init;
pub mod lock;
pub mod network;
pub mod packages;
pub mod ports;
pub mod privilege;
pub mod process;
pub mod resources;
pub mod state;

pub use consent::{Consent, ConsentError, Proposal};
