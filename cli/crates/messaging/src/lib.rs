//! The event flow, seen from outside of the services.
//!
//! ```text
//! stores      where the services keep their events
//! outbox      what they have written to be published
//! inbox       what they have handled
//! filter      which events of either
//! queues      how the work queues stand
//! story       what became of an event, and what it caused
//! tail        events as they pass
//! dead        dead letters: looks that change nothing, and the way back
//! reconcile   the account of every event for every queue, and the laws of the tables
//! poison      a message that no consumer can handle
//! memory      how long outboxes and inboxes remember
//! broker      the way in as administrator, publishing with confirms, a turn at the dead letters
//! reader      reads a dead-letter queue and leaves it as it was
//! browse      what quorum queues hold, without a delivery
//! error       why it can't be seen or repaired
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
