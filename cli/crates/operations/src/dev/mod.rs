//! Work on the services' sources: what they are now, and when they change.

mod file_watcher;
mod source_state;
mod source_watcher;

pub use source_watcher::SourceWatcher;
