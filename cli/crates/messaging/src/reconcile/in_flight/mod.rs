//! Locates events that were published and not processed.

mod search;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dm_contracts::topology::EVENT_QUEUES;

use self::search::{QueueSearch, begin_searches, dead_lettered_events, inspection_order};
use super::ReconcileContext;
use super::report::{QueueReport, ReconcileFinding};
use super::snapshot;
use super::unprocessed::UnprocessedEvents;
use crate::dead_letters::parking::ParkedLetter;
use crate::dead_letters::{DeadLetter, DeadLetterFilter, browse, parking};
use crate::queue_inspector::QueuedMessage;
use crate::{MessagingError, queues};

/// The interval at which events in flight are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Locates each unprocessed event, or reports it as missing. Returns the dead letters and the
/// messages in work queues.
pub(super) async fn locate_unprocessed(
    context: &ReconcileContext<'_>,
    reports: &mut [QueueReport],
    unprocessed: BTreeMap<&'static str, UnprocessedEvents>,
    findings: &mut Vec<ReconcileFinding>,
) -> Result<BrokerContents, MessagingError> {
    let mut searches = begin_searches(reports, unprocessed);
    let (letters, parked) = read_dead_letters(context, &event_queue_names()).await?;
    for search in &mut searches {
        search.add_dead_lettered(dead_lettered_events(&letters, &parked));
    }
    wait_for_in_flight(context, &mut searches).await?;
    let mut queued_messages = Vec::new();
    for mut search in searches {
        inspect_queues(context, &mut search).await?;
        let queue = search.queue().name;
        let result = search.finish()?;
        queued_messages.extend(result.messages.into_iter().map(|message| (queue, message)));
        findings.extend(result.missing);
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

fn event_queue_names() -> Vec<&'static str> {
    EVENT_QUEUES.iter().map(|queue| queue.name).collect()
}

/// Returns the dead letters of these queues, and all parked letters.
async fn read_dead_letters(
    context: &ReconcileContext<'_>,
    queues: &[&'static str],
) -> Result<(Vec<DeadLetter>, Vec<ParkedLetter>), MessagingError> {
    let mut letters = Vec::new();
    browse::for_each_letter(
        context.connection,
        queues,
        &DeadLetterFilter::default(),
        |letter| letters.push(letter),
    )
    .await?;
    let parked = parking::list(context.database).await?;
    Ok((letters, parked))
}

/// Waits until the events in flight are processed, while their queues have consumers, and counts
/// the events that were processed meanwhile.
async fn wait_for_in_flight(
    context: &ReconcileContext<'_>,
    searches: &mut [QueueSearch<'_>],
) -> Result<(), MessagingError> {
    let started_at = Instant::now();
    let mut reported = false;
    loop {
        let mut depths = Vec::new();
        for search in searches.iter_mut() {
            if search.is_complete() {
                continue;
            }
            count_processed(context, search).await?;
            if !search.is_complete() {
                depths.extend(queues::load_depths(context.connection, &[search.queue()]).await?);
            }
        }
        let has_consumers = depths.iter().any(|depth| depth.consumers > 0);
        if !has_consumers || started_at.elapsed() >= context.in_flight_timeout {
            return Ok(());
        }
        if !reported {
            reported = true;
            let remaining: usize = searches.iter().map(QueueSearch::remaining).sum();
            (context.on_progress)(&format!("{remaining} deliveries are in flight"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn count_processed(
    context: &ReconcileContext<'_>,
    search: &mut QueueSearch<'_>,
) -> Result<(), MessagingError> {
    let ids = search.ids();
    let processed = snapshot::find_processed(context, search.queue().name, &ids).await?;
    search.add_processed(&processed);
    Ok(())
}

/// Inspects the work queue and its retry queues if they have messages or unprocessed events.
/// An event that is in none of them may have been processed or dead-lettered meanwhile.
async fn inspect_queues(
    context: &ReconcileContext<'_>,
    search: &mut QueueSearch<'_>,
) -> Result<(), MessagingError> {
    let queue = search.queue();
    if search.is_complete() {
        let depths = queues::load_depths(context.connection, &[queue]).await?;
        if depths
            .iter()
            .all(|depth| depth.ready == 0 && depth.retrying == 0)
        {
            return Ok(());
        }
    }
    let names = inspection_order(&queue);
    while search.needs_inspection() {
        search.add_contents(context.queue_inspector.inspect(&names).await?);
        count_processed(context, search).await?;
        if search.is_complete() {
            break;
        }
        let (letters, parked) = read_dead_letters(context, &[queue.name]).await?;
        search.add_dead_lettered(dead_lettered_events(&letters, &parked));
    }
    Ok(())
}
