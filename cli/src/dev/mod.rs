//! Work on the services' sources: what they are now, and when they change.

mod state;
mod watch;

pub use state::SourceState;
pub use watch::{Changes, Watch, WatchError};
