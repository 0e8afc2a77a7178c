//! Checks every event in every queue that receives it: pending, in flight, processed or
//! dead-lettered; and checks the invariants of the business tables.
//!
//! ```text
//! snapshot              outboxes and inboxes in one snapshot of the database
//! edit_chains           the ids that dead letters got when they were edited
//! unprocessed           events that were published and not processed, by each of their ids
//! invariants            the invariants of the business tables, in the same snapshot
//! in_flight             locates events that were published and not processed
//! external_queue        the contents of a queue that no service consumes
//! unexpected_messages   messages in the broker that should not be there
//! report                the result
//! repair                publishes missing events again
//! ```
//!
//! The snapshot is taken before the queues are read. An event that was not processed in the
//! snapshot and is in no queue is searched again in the inboxes: it may have been processed
//! meanwhile. Only an event that is not found then is missing. All instants are those of the
//! database or the broker, never of this process or a client.

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

use dm_contracts::topology::EVENT_QUEUES;
use lapin::Connection;
use sqlx::PgPool;

use super::MessagingError;
use super::queue_inspector::QuorumQueueInspector;
use super::retention::ServiceRetention;
use super::service_tables::ServiceTables;
use snapshot::Snapshot;

pub use repair::repair;
pub use report::{FindingKind, Invariant, QueueReport, ReconcileFinding, ReconcileReport};

/// The data sources and the timeout of a reconciliation.
pub struct ReconcileContext<'a> {
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
    /// The database.
    pub database: &'a PgPool,
    /// The connection to the broker. It must hold the dead-letter lock.
    pub connection: &'a Connection,
    /// Reads the messages in queues, including unacknowledged ones.
    pub queue_inspector: &'a QuorumQueueInspector<'a>,
    /// The retention periods by service.
    pub retention: &'a BTreeMap<String, ServiceRetention>,
    /// The timeout for events in flight.
    pub in_flight_timeout: Duration,
    /// Called with a text that describes the awaited events.
    pub on_progress: &'a (dyn Fn(&str) + Sync),
}

/// Checks every event and the invariants. Changes only dead-letter queues, from which it removes
/// copies of a letter.
///
/// # Errors
/// Returns [`MessagingError`] if the broker or the database returns an error.
pub async fn run(context: &ReconcileContext<'_>) -> Result<ReconcileReport, MessagingError> {
    let Snapshot {
        pending,
        taken_at,
        routing_keys,
        mut reports,
        unprocessed,
        edit_chains,
        orphans,
        invariants,
        violations,
    } = snapshot::take_snapshot(context).await?;
    let mut findings = violations;
    findings.extend(orphans);
    let mut broker_contents =
        in_flight::locate_unprocessed(context, &mut reports, unprocessed, &mut findings).await?;
    for queue in EVENT_QUEUES.iter().filter(|queue| queue.consumer.is_none()) {
        let expected = external_queue::ExpectedContents {
            routing_keys: routing_keys.get(queue.name).map_or(&[], Vec::as_slice),
            snapshot_at: taken_at,
        };
        let Some(report) = reports.iter_mut().find(|report| report.queue == queue.name) else {
            continue;
        };
        let contents =
            external_queue::reconcile_external_queue(context, queue, &expected, report).await?;
        findings.extend(contents.missing.into_iter().map(|event| ReconcileFinding {
            kind: FindingKind::Missing,
            scope: queue.name.to_owned(),
            id: event.event_id,
            detail: format!(
                "{} of {} is not in the queue",
                event.event_type, event.subject
            ),
        }));
        let messages = contents.messages.into_iter();
        broker_contents
            .queued_messages
            .extend(messages.map(|message| (queue.name, message)));
    }
    let since = taken_at - Duration::from_secs_f64(snapshot::max_event_age_seconds(context, None));
    findings.extend(
        unexpected_messages::find_unexpected(context, &broker_contents, &edit_chains, since)
            .await?,
    );
    findings.sort();
    Ok(ReconcileReport {
        pending,
        queues: reports,
        invariants,
        findings,
    })
}
