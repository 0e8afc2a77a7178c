//! Work on the services' sources: what they are now, and when they change.

mod sources;
mod state;
mod watch;

pub use sources::Sources;
