//! The contracts between the services, which `dm` uses too: the event envelope, every
//! event of the catalogue, the names of the broker's topology, and the bodies of the
//! REST interface.
//!
//! They are documented in `docs/contracts/`.

pub mod api;
mod app;
pub mod envelope;
pub mod events;
pub mod headers;
pub mod span;
pub mod time;
pub mod topology;
pub mod validation;

pub use app::App;
pub use envelope::Envelope;
pub use events::DomainEvent;
