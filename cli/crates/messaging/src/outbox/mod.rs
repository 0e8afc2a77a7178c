//! What the services have written to be published.
//!
//! ```text
//! row     one of them
//! page    which there are, latest first, a page at a time
//! stats   how it stands, a line a service
//! retry   what rests after a refusal goes now
//! ```

pub mod page;
pub mod retry;
pub mod row;
pub mod stats;

pub use row::{OutboxRow, OutboxState};
