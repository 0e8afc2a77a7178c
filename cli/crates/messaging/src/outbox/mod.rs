//! The events that the services have written for publishing.
//!
//! ```text
//! row     a row of an outbox
//! page    a page of the outboxes, latest first
//! stats   backlog, age and publish rate per service
//! retry   retries refused events immediately
//! ```

pub mod page;
pub mod retry;
pub mod row;
pub mod stats;

pub use row::{OutboxRow, OutboxState};
