//! The outbox: events are written in the transaction of the change that they report, and
//! published afterwards.
//!
//! One relay per schema is active, whichever process of the service it runs in, so that
//! events of one aggregate keep their order.

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

/// Writes an event in the caller's transaction, whose commit notifies the relay. Returns the id
/// of the event.
///
/// # Errors
/// Returns [`sqlx::Error`] if the statement fails. The transaction is aborted then.
pub async fn append<E: DomainEvent>(
    transaction: &mut Transaction,
    event: &E,
    trace: &Trace,
) -> Result<String, sqlx::Error> {
    append_delayed(transaction, event, trace, Duration::ZERO).await
}

/// Writes an event like [`append`], but delays it, together with later events of the same
/// aggregate.
///
/// # Errors
/// Returns [`sqlx::Error`] if the statement fails. The transaction is aborted then.
pub async fn append_delayed<E: DomainEvent>(
    transaction: &mut Transaction,
    event: &E,
    trace: &Trace,
    delay: Duration,
) -> Result<String, sqlx::Error> {
    let envelope = Envelope::new(event);
    store::insert(
        transaction,
        &envelope,
        E::ROUTING_KEY,
        &trace.traceparent,
        delay,
    )
    .await?;
    transaction.mark_has_events();
    Ok(envelope.id)
}
