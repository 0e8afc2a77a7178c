//! Inspection and repair of the event flow from outside the services.
//!
//! ```text
//! service_tables    the outbox and inbox tables of the services
//! outbox            the events that the services publish
//! inbox             the events that the services have processed
//! event_filter      the conditions for both
//! queues            the depths of the event queues
//! trace             the delivery status of an event, and the events that it caused
//! tail              live events
//! dead_letters      dead letters: reading, replaying, parking, exporting
//! reconcile         every event accounted for in every queue, and the invariants of the tables
//! poison            a message that no consumer can process
//! retention         the retention periods of outboxes, inboxes and notifications
//! broker            connecting as administrator, publishing with confirms, the dead-letter lock
//! queue_browser     reads a dead-letter queue and leaves it unchanged
//! queue_inspector   the contents of quorum queues, without a delivery
//! error             the errors
//! ```

pub mod broker;
pub mod dead_letters;
mod error;
pub mod event_filter;
pub mod inbox;
pub mod outbox;
pub mod poison;
mod queue_browser;
pub mod queue_inspector;
pub mod queues;
pub mod reconcile;
pub mod retention;
pub mod service_tables;
pub mod tail;
pub mod trace;

pub use error::MessagingError;
