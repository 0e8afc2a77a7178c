//! Locates events that were published and not processed.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use dm_contracts::topology::{EVENT_QUEUES, EventQueue};

use super::ReconcileContext;
use super::report::{FindingKind, QueueReport, ReconcileFinding};
use super::snapshot;
use super::unprocessed::UnprocessedEvents;
use crate::dead_letters::{DeadLetter, DeadLetterFilter, browse, parking};
use crate::queue_inspector::{QueueContents, QueuedMessage};
use crate::{MessagingError, queues};

/// The interval at which events in flight are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The number of inspections before an event is reported as missing: a message may move from a
/// queue that is not inspected yet to an inspected one.
const INSPECTIONS: usize = 2;

type UnprocessedByQueue = BTreeMap<&'static str, UnprocessedEvents>;

/// Locates each unprocessed event, or reports it as missing. Returns the dead letters and the
/// messages in work queues.
pub(super) async fn locate_unprocessed(
    context: &ReconcileContext<'_>,
    reports: &mut [QueueReport],
    unprocessed: &mut UnprocessedByQueue,
    findings: &mut Vec<ReconcileFinding>,
) -> Result<BrokerContents, MessagingError> {
    let letters = locate_dead_letters(context, reports, unprocessed, &event_queue_names()).await?;
    wait_for_in_flight(context, reports, unprocessed).await?;
    let mut queued_messages = Vec::new();
    for queue in EVENT_QUEUES {
        // No service consumes it: `external_queue` completes its report.
        if queue.consumer.is_none() {
            continue;
        }
        let mut remaining = unprocessed.remove(queue.name).unwrap_or_default();
        if let Some(report) = find_report(reports, queue.name) {
            let messages = inspect_queues(context, &queue, report, &mut remaining).await?;
            queued_messages.extend(messages.into_iter().map(|message| (queue.name, message)));
            report.missing = remaining.len() as i64;
        }
        findings.extend(remaining.iter().map(|(id, event)| ReconcileFinding {
            kind: FindingKind::Missing,
            scope: queue.name.to_owned(),
            id: id.to_owned(),
            detail: match event.edited_ids.last() {
                None => format!("{} of {} is neither in the queue nor in the inbox", event.event_type, event.subject),
                Some(edit) => format!(
                    "{} of {}, which was edited into {edit}, is neither in the queue nor in the inbox",
                    event.event_type, event.subject
                ),
            },
        }));
    }
    Ok(BrokerContents {
        dead_letters: letters,
        queued_messages,
    })
}

/// The messages that were found in the broker.
pub(super) struct BrokerContents {
    /// The dead letters.
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The messages in the inspected queues.
    pub(super) queued_messages: Vec<(&'static str, QueuedMessage)>,
}

fn find_report<'a>(reports: &'a mut [QueueReport], queue: &str) -> Option<&'a mut QueueReport> {
    reports.iter_mut().find(|report| report.queue == queue)
}

fn event_queue_names() -> Vec<&'static str> {
    EVENT_QUEUES.iter().map(|queue| queue.name).collect()
}

/// Counts and removes the unprocessed events that are dead-lettered or parked. Returns the dead
/// letters.
async fn locate_dead_letters(
    context: &ReconcileContext<'_>,
    reports: &mut [QueueReport],
    unprocessed: &mut UnprocessedByQueue,
    queues: &[&'static str],
) -> Result<Vec<DeadLetter>, MessagingError> {
    let mut letters = Vec::new();
    browse::for_each_letter(
        context.connection,
        queues,
        &DeadLetterFilter::default(),
        |letter| letters.push(letter),
    )
    .await?;
    let parked = parking::list(context.database).await?;
    let dead_lettered = letters
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.id.as_deref()?)));
    let parked = parked
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.event_id.as_deref()?)));
    for (queue, id) in dead_lettered.chain(parked) {
        let report = find_report(reports, queue);
        if let (Some(remaining), Some(report)) = (unprocessed.get_mut(queue), report) {
            report.dead_lettered += i64::from(remaining.remove(id));
        }
    }
    Ok(letters)
}

/// Waits until the events in flight are processed, while their queues have consumers, and counts
/// the events that were processed meanwhile.
async fn wait_for_in_flight(
    context: &ReconcileContext<'_>,
    reports: &mut [QueueReport],
    unprocessed: &mut UnprocessedByQueue,
) -> Result<(), MessagingError> {
    let started_at = Instant::now();
    let mut reported = false;
    loop {
        let mut has_consumers = false;
        for queue in EVENT_QUEUES {
            let Some(remaining) = unprocessed
                .get_mut(queue.name)
                .filter(|remaining| !remaining.is_empty())
            else {
                continue;
            };
            let Some(report) = find_report(reports, queue.name) else {
                continue;
            };
            count_processed(context, queue.name, report, remaining).await?;
            if !remaining.is_empty() {
                let depths = queues::load_depths(context.connection, &[queue]).await?;
                has_consumers |= depths.iter().any(|depth| depth.consumers > 0);
            }
        }
        if !has_consumers || started_at.elapsed() >= context.in_flight_timeout {
            return Ok(());
        }
        if !reported {
            reported = true;
            let remaining: usize = unprocessed.values().map(UnprocessedEvents::len).sum();
            (context.on_progress)(&format!("{remaining} deliveries are in flight"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn count_processed(
    context: &ReconcileContext<'_>,
    queue: &'static str,
    report: &mut QueueReport,
    unprocessed: &mut UnprocessedEvents,
) -> Result<(), MessagingError> {
    let ids = unprocessed.ids();
    for id in snapshot::find_processed(context, queue, &ids).await? {
        report.processed += i64::from(unprocessed.remove(&id));
    }
    Ok(())
}

/// Inspects the work queue and its retry queues if they have messages or unprocessed events.
/// An event that is in none of them may have been processed or dead-lettered meanwhile.
/// Returns the messages of the queues.
async fn inspect_queues(
    context: &ReconcileContext<'_>,
    queue: &EventQueue,
    report: &mut QueueReport,
    unprocessed: &mut UnprocessedEvents,
) -> Result<Vec<QueuedMessage>, MessagingError> {
    if unprocessed.is_empty() {
        let depths = queues::load_depths(context.connection, &[*queue]).await?;
        if depths
            .iter()
            .all(|depth| depth.ready == 0 && depth.retrying == 0)
        {
            return Ok(Vec::new());
        }
    }
    // In the order in which a message moves: from a retry queue to the work queue, and back.
    let retries = queues::retry_queue_names(queue);
    let work = [queue.name.to_owned()];
    let names: Vec<String> = [&retries[..], &work, &retries].concat();
    let (mut messages, mut unreadable) = (Vec::new(), 0);
    for _ in 0..INSPECTIONS {
        let contents = context.queue_inspector.inspect(&names).await?;
        unreadable = contents.iter().map(|queue| queue.unreadable).sum();
        messages = contents
            .into_iter()
            .flat_map(|QueueContents { messages, .. }| messages)
            .collect();
        for id in messages.iter().filter_map(|message| message.id.as_deref()) {
            report.in_flight += i64::from(unprocessed.remove(id));
        }
        count_processed(context, queue.name, report, unprocessed).await?;
        if unprocessed.is_empty() {
            break;
        }
        let mut by_queue = UnprocessedByQueue::from([(queue.name, std::mem::take(unprocessed))]);
        locate_dead_letters(
            context,
            std::slice::from_mut(report),
            &mut by_queue,
            &[queue.name],
        )
        .await?;
        *unprocessed = by_queue.remove(queue.name).unwrap_or_default();
        if unprocessed.is_empty() {
            break;
        }
    }
    if !unprocessed.is_empty() && unreadable > 0 {
        return Err(MessagingError::UnreadableMessages {
            queue: queue.name,
            events: unprocessed.len(),
            unreadable,
        });
    }
    let mut seen = HashSet::new();
    messages.retain(|message| seen.insert(message.id.clone()));
    Ok(messages)
}
