//! Accounts for every event: pending, in flight, consumed or dead, for every queue that
//! takes it; and for what the events were about.
//!
//! ```text
//! books         what outboxes and inboxes say, from one snapshot of the database
//! chains        what dead letters were edited into
//! open          events that were published and not handled, by every id that they go by
//! laws          what must hold of the business tables, in the same snapshot
//! flight        where events are that were published and not handled
//! handed        what waits in a queue that nobody here consumes
//! superfluous   what the broker has and should not
//! report        what came out
//! repair        what is missing is published again
//! ```
//!
//! The snapshot comes before the looks into queues. What was not handled then and is in
//! no queue now is looked for again in the inboxes: it may have been handled meanwhile,
//! and only what is nowhere after that is missing. All instants are the database's or the
//! broker's: neither the clock of this process nor that of a client counts.

mod edit_chains;
mod external_queue;
mod in_flight;
mod invariants;
mod repair;
mod report;
mod snapshot;
mod unexpected_messages;
mod unprocessed;

use std::collections::BTreeMap;
use std::time::Duration;

use dm_contracts::topology::WORK_QUEUES;
use lapin::Connection;
use sqlx::PgPool;

use super::MessagingError;
use super::queue_inspector::QuorumQueueInspector;
use super::retention::ServiceRetention;
use super::service_tables::ServiceTables;
use snapshot::Snapshot;

pub use repair::repair;
pub use report::{FindingKind, Invariant, QueueAccount, ReconcileFinding, ReconcileReport};

/// What is looked at, and how long.
pub struct ReconcileContext<'a> {
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
    /// The database.
    pub database: &'a PgPool,
    /// The broker. Its turn at the dead letters must be had.
    pub connection: &'a Connection,
    /// What shows the messages in queues, those that consumers have at hand among them.
    pub queue_inspector: &'a QuorumQueueInspector<'a>,
    /// How long each service keeps its rows.
    pub retention: &'a BTreeMap<String, ServiceRetention>,
    /// How long what is in flight may take to arrive.
    pub in_flight_timeout: Duration,
    /// Told of what is waited for.
    pub on_progress: &'a (dyn Fn(&str) + Sync),
}

/// Accounts for everything. Nothing changes by that.
///
/// # Errors
/// The broker or the database fails.
pub async fn run(context: &ReconcileContext<'_>) -> Result<ReconcileReport, MessagingError> {
    let Snapshot {
        pending,
        taken_at: now,
        routing_keys: taken,
        mut accounts,
        unprocessed: mut open,
        edit_chains: chains,
        orphans,
        invariants: laws,
        violations: broken,
    } = snapshot::take_snapshot(context).await?;
    let mut findings = broken;
    findings.extend(orphans);
    let mut seen =
        in_flight::locate_unprocessed(context, &mut accounts, &mut open, &mut findings).await?;
    for queue in WORK_QUEUES.iter().filter(|queue| queue.consumer.is_none()) {
        let due = external_queue::ExpectedContents {
            routing_keys: taken.get(queue.name).map_or(&[], Vec::as_slice),
            snapshot_at: now,
        };
        let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) else {
            continue;
        };
        let found = external_queue::reconcile_external_queue(context, queue, &due, account).await?;
        findings.extend(found.missing.into_iter().map(|event| ReconcileFinding {
            kind: FindingKind::Missing,
            of: queue.name.to_owned(),
            what: event.event_id,
            detail: format!(
                "{} of {} is not in the queue",
                event.event_type, event.subject
            ),
        }));
        let messages = found.messages.into_iter();
        seen.queued_messages
            .extend(messages.map(|message| (queue.name, message)));
    }
    let since = now - Duration::from_secs_f64(snapshot::max_event_age_seconds(context, None));
    findings.extend(unexpected_messages::find_unexpected(context, &seen, &chains, since).await?);
    findings.sort();
    Ok(ReconcileReport {
        pending,
        accounts,
        laws,
        findings,
    })
}
