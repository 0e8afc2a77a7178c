//! The outbox: events are written with the change that they tell of, and
//! published afterwards.
//!
//! One relay a schema publishes at a time, whichever instance of the service it
//! runs in, so that events of one aggregate keep their order.

mod batch_publisher;
mod error;
mod message;
mod ordering;
mod pending;
mod relay;
mod send_queue;
mod store;

use std::time::Duration;

use dm_contracts::{DomainEvent, Envelope};

use crate::database::Transaction;
use crate::trace::Trace;

pub(crate) use relay::Relay;

/// Writes an event in the caller's transaction, whose commit wakes the relay. Answers
/// its id.
///
/// # Errors
/// Where the database refuses; the transaction is then of no use any more.
pub async fn append<E: DomainEvent>(
    transaction: &mut Transaction,
    event: &E,
    trace: &Trace,
) -> Result<String, sqlx::Error> {
    append_delayed(transaction, event, trace, Duration::ZERO).await
}

/// Like [`append`], but the event is held back for a while, and with it those of
/// the same aggregate that come later.
///
/// # Errors
/// Where the database refuses; the transaction is then of no use any more.
pub async fn append_delayed<E: DomainEvent>(
    transaction: &mut Transaction,
    event: &E,
    trace: &Trace,
    hold: Duration,
) -> Result<String, sqlx::Error> {
    let envelope = Envelope::new(event);
    store::insert(
        transaction,
        &envelope,
        E::ROUTING_KEY,
        &trace.traceparent,
        hold,
    )
    .await?;
    transaction.mark_has_events();
    Ok(envelope.id)
}
