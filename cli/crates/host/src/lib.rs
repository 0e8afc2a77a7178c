//! The machine that `dm` runs on: facts about it, and the few changes to it
//! that `dm` makes with consent.

pub mod browser;
pub mod cache;
pub mod consent;
pub mod detach;
pub mod digest_key;
pub mod editor;
pub mod init;
pub mod line_ends;
pub mod lock;
pub mod network;
pub mod packages;
mod place;
pub mod ports;
pub mod privilege;
pub mod process;
pub mod resources;
pub mod signals;
pub mod state;
pub mod target;

pub use consent::{Consent, ConsentError, Proposal};

/// True on a machine of continuous integration, as the customary variable says.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var_os("CI")
        .is_some_and(|value| value != "false" && value != "0" && !value.is_empty())
}
