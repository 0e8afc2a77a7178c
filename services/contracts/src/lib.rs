//! What the services agree on, and what `dm` knows of them: the event envelope,
//! every event of the catalogue, the broker's topology by name, and the bodies
//! of the REST interface.
//!
//! The documents behind it are `docs/contracts/`.

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
