//! Watches the sources of the services for changes.

mod file_watcher;
mod source_state;
mod source_watcher;

pub use source_watcher::SourceWatcher;
