//! The inbox: every event is applied once, however often it is delivered.
//!
//! The effect of an event, the events that it causes and the note that it was
//! handled commit in one transaction; the acknowledgement follows. What fails is
//! tried again later, and in the end set aside as a dead letter that says why. A failure
//! is recorded before it is published, so that one event is one dead letter in a round,
//! and never both applied and dead.

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

/// Why an event could not be applied.
#[derive(Debug, Error)]
pub enum HandlerError {
    /// It will never work: the event is at fault.
    #[error("{message}")]
    Permanent {
        /// A stable word, as dead letters carry it.
        reason: &'static str,
        /// What is wrong.
        message: String,
    },
    /// It may work later.
    #[error("{0}")]
    Transient(String),
    /// The database said no.
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),
}

impl HandlerError {
    /// An event whose data break a rule.
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

/// What a service does with the events of a queue.
pub trait EventHandler: Send + Sync + 'static {
    /// Applies an event within the transaction that also notes it as handled. An
    /// unknown type is no fault: it is left alone.
    fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Envelope,
        trace: &Trace,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}
