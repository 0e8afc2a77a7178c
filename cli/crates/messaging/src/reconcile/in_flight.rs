//! Where events are that were published and not handled.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use dm_contracts::topology::{WORK_QUEUES, WorkQueue};

use super::ReconcileContext;
use super::report::{FindingKind, QueueAccount, ReconcileFinding};
use super::snapshot;
use super::unprocessed::UnprocessedEvents;
use crate::dead_letters::{DeadLetter, DeadLetterFilter, browse, parking};
use crate::queue_inspector::{QueueContents, QueuedMessage};
use crate::{MessagingError, queues};

/// How often what is in flight is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often queues are looked into before what is in none of them is missing: a message may
/// go from one that was not looked into yet to one that was.
const INSPECTION_ROUNDS: usize = 2;

type UnprocessedByQueue = BTreeMap<&'static str, UnprocessedEvents>;

/// Finds each of them, or tells that it is missing. Answers the dead letters that there are,
/// and the messages that lie in work queues.
pub(super) async fn locate_unprocessed(
    context: &ReconcileContext<'_>,
    accounts: &mut [QueueAccount],
    unprocessed: &mut UnprocessedByQueue,
    findings: &mut Vec<ReconcileFinding>,
) -> Result<BrokerContents, MessagingError> {
    let letters = collect_dead_letters(context, accounts, unprocessed, &work_queue_names()).await?;
    wait_for_in_flight(context, accounts, unprocessed).await?;
    let mut waiting = Vec::new();
    for queue in WORK_QUEUES {
        // No service consumes it: `handed` has its account.
        if queue.consumer.is_none() {
            continue;
        }
        let mut left = unprocessed.remove(queue.name).unwrap_or_default();
        if let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) {
            let held = inspect_queues(context, &queue, account, &mut left).await?;
            waiting.extend(held.into_iter().map(|message| (queue.name, message)));
            account.missing = left.len() as i64;
        }
        findings.extend(left.iter().map(|(id, event)| ReconcileFinding {
            kind: FindingKind::Missing,
            of: queue.name.to_owned(),
            what: id.to_owned(),
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
        queued_messages: waiting,
    })
}

/// What was seen of the broker.
pub(super) struct BrokerContents {
    /// The dead letters.
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The messages in queues that were looked into.
    pub(super) queued_messages: Vec<(&'static str, QueuedMessage)>,
}

fn work_queue_names() -> Vec<&'static str> {
    WORK_QUEUES.iter().map(|queue| queue.name).collect()
}

/// Those that are dead letters, or were parked since, are accounted for.
async fn collect_dead_letters(
    context: &ReconcileContext<'_>,
    accounts: &mut [QueueAccount],
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
    let dead = letters
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.id.as_deref()?)));
    let parked = parked
        .iter()
        .filter_map(|letter| Some((letter.queue.as_str(), letter.event_id.as_deref()?)));
    for (queue, id) in dead.chain(parked) {
        let account = accounts.iter_mut().find(|it| it.queue == queue);
        if let (Some(left), Some(account)) = (unprocessed.get_mut(queue), account) {
            account.dead += i64::from(left.remove(id));
        }
    }
    Ok(letters)
}

/// Waits until they arrive, while there are consumers for them to arrive at. What was
/// handled meanwhile is accounted for.
async fn wait_for_in_flight(
    context: &ReconcileContext<'_>,
    accounts: &mut [QueueAccount],
    unprocessed: &mut UnprocessedByQueue,
) -> Result<(), MessagingError> {
    let began = Instant::now();
    let mut noted = false;
    loop {
        let mut waits = false;
        for queue in WORK_QUEUES {
            let Some(left) = unprocessed
                .get_mut(queue.name)
                .filter(|left| !left.is_empty())
            else {
                continue;
            };
            let Some(account) = accounts.iter_mut().find(|it| it.queue == queue.name) else {
                continue;
            };
            count_processed(context, queue.name, account, left).await?;
            if !left.is_empty() {
                let depth = queues::load_depths(context.connection, &[queue]).await?;
                waits |= depth.iter().any(|depth| depth.consumers > 0);
            }
        }
        if !waits || began.elapsed() >= context.in_flight_timeout {
            return Ok(());
        }
        if !noted {
            noted = true;
            let left: usize = unprocessed.values().map(UnprocessedEvents::len).sum();
            (context.on_progress)(&format!("{left} deliveries are in flight"));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn count_processed(
    context: &ReconcileContext<'_>,
    queue: &'static str,
    account: &mut QueueAccount,
    unprocessed: &mut UnprocessedEvents,
) -> Result<(), MessagingError> {
    let ids = unprocessed.ids();
    for id in snapshot::find_processed(context, queue, &ids).await? {
        account.consumed += i64::from(unprocessed.remove(&id));
    }
    Ok(())
}

/// Looks into the queue and those of its retries, where something is open or waits in them.
/// What is in none of them may have been handled, or have become a dead letter, in between.
/// Answers what they hold.
async fn inspect_queues(
    context: &ReconcileContext<'_>,
    queue: &WorkQueue,
    account: &mut QueueAccount,
    unprocessed: &mut UnprocessedEvents,
) -> Result<Vec<QueuedMessage>, MessagingError> {
    if unprocessed.is_empty() {
        let depths = queues::load_depths(context.connection, &[*queue]).await?;
        if depths.iter().all(|it| it.ready == 0 && it.retrying == 0) {
            return Ok(Vec::new());
        }
    }
    // In the order in which a message moves: from a retry to the work queue, and back.
    let retries = queues::retry_queue_names(queue);
    let work = [queue.name.to_owned()];
    let places: Vec<String> = [&retries[..], &work, &retries].concat();
    let (mut held, mut unread) = (Vec::new(), 0);
    for _ in 0..INSPECTION_ROUNDS {
        let contents = context.queue_inspector.inspect(&places).await?;
        unread = contents.iter().map(|it| it.unreadable).sum();
        held = contents
            .into_iter()
            .flat_map(|QueueContents { messages, .. }| messages)
            .collect();
        for id in held.iter().filter_map(|message| message.id.as_deref()) {
            account.in_flight += i64::from(unprocessed.remove(id));
        }
        count_processed(context, queue.name, account, unprocessed).await?;
        if unprocessed.is_empty() {
            break;
        }
        let mut open = UnprocessedByQueue::from([(queue.name, std::mem::take(unprocessed))]);
        collect_dead_letters(
            context,
            std::slice::from_mut(account),
            &mut open,
            &[queue.name],
        )
        .await?;
        *unprocessed = open.remove(queue.name).unwrap_or_default();
        if unprocessed.is_empty() {
            break;
        }
    }
    if !unprocessed.is_empty() && unread > 0 {
        return Err(MessagingError::UnreadableMessages {
            queue: queue.name,
            events: unprocessed.len(),
            unread,
        });
    }
    let mut seen = HashSet::new();
    held.retain(|message| seen.insert(message.id.clone()));
    Ok(held)
}
