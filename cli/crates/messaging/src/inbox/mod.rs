//! What the services have handled.
//!
//! ```text
//! page    which events there are, latest first, a page at a time
//! stats   how each work queue stands, with the pace of its consumer
//! retry   what waits to be tried again goes now
//! ```

pub mod page;
pub mod retry;
pub mod stats;
