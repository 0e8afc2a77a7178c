//! The inbox: every event is processed once, however often it is delivered.
//!
//! The effect of an event, the events that it causes and its inbox row are committed in one
//! transaction; the acknowledgement follows. A failed event is retried later, and finally
//! dead-lettered with the reason. A failure is recorded before its message is published, so
//! that one event is one dead letter per round, and never both processed and dead-lettered.

mod consumer;
mod failed_message;
mod failure;
mod failure_record;
mod incoming;
mod lanes;

use std::future::Future;

use dm_contracts::Envelope;
use dm_contracts::envelope::EnvelopeError;
use thiserror::Error;

use crate::database::Transaction;
use crate::trace::Trace;

pub(crate) use consumer::Consumer;
pub(crate) use consumer::ConsumerContext;

/// The error of an event that could not be processed.
#[derive(Debug, Error)]
pub enum HandlerError {
    /// The event is the cause: a retry does not help.
    #[error("{message}")]
    Permanent {
        /// Stable code, as in dead letters.
        reason: &'static str,
        /// Error text.
        message: String,
    },
    /// A retry may help.
    #[error("{0}")]
    Transient(String),
    /// A database operation failed.
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

impl HandlerError {
    /// Returns the error of an event whose data are not valid.
    pub fn invalid_data(message: impl Into<String>) -> Self {
        Self::Permanent {
            reason: "invalid-data",
            message: message.into(),
        }
    }
}

impl From<EnvelopeError> for HandlerError {
    fn from(error: EnvelopeError) -> Self {
        Self::Permanent {
            reason: error.reason(),
            message: error.to_string(),
        }
    }
}

/// Processes the events of a work queue.
pub trait EventHandler: Send + Sync + 'static {
    /// Processes an event in the transaction that also inserts its inbox row. Events of unknown
    /// types are ignored without an error.
    fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}
