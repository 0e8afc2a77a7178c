//! The machine on which `dm` runs: its state, and the few changes that `dm` makes with the
//! user's consent.

pub mod background_process;
pub mod browser;
pub mod cache;
pub mod consent;
pub mod digest_key;
pub mod editor;
pub mod line_endings;
pub mod lock;
pub mod network;
pub mod output_target;
pub mod packages;
pub mod ports;
pub mod privilege;
pub mod process;
mod process_location;
pub mod resources;
pub mod service_manager;
pub mod signals;
pub mod state;

pub use consent::{Consent, ConsentError, ProposedChange};

/// Returns whether the conventional variable `CI` marks a continuous-integration machine.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var_os("CI")
        .is_some_and(|value| value != "false" && value != "0" && !value.is_empty())
}
