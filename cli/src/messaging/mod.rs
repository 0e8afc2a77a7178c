//! The event flow, seen from outside of the services.
//!
//! ```text
//! broker   the way in as administrator, publishing with confirms, a turn at the dead letters
//! dead     dead letters: looks that change nothing, and the way back
//! error    why it can't be seen or repaired
//! poison   a message that no consumer can handle
//! ```

pub mod broker;
pub mod dead;
pub mod error;
pub mod poison;

pub use error::MessagingError;
