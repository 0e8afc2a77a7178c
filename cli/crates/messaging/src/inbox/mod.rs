//! The events that the services have processed.
//!
//! ```text
//! page    a page of the inboxes, latest first
//! stats   the depth and the processing rate of each event queue
//! retry   requeues messages that wait for a retry
//! ```

pub mod page;
pub mod retry;
pub mod stats;
