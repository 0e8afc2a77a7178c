//! Executes a replay run.
//!
//! Letters are published in windows, two at a time: while one window is confirmed and recorded in
//! the audit, the next one is read and published.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use dm_amqp::{PendingConfirms, PublishOutcome};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use serde::Serialize;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::republish::to_replay_message;
use super::selection::{ReplaySelection, UnackedQueue};
use super::{ReplayLimits, ReplayRequest};
use crate::MessagingError;
use crate::broker::OutgoingMessage;
use crate::dead_letters::failure_records::{FailureRecords, Resolution};
use crate::dead_letters::letter_reader::{LetterReader, UnackedLetter};
use crate::dead_letters::replay_audit::{self, EditedEvent, ReplayEntry, ReplayOutcome};
use crate::service_tables::ServiceTables;

/// The maximum number of windows in flight.
const MAX_WINDOWS: usize = 2;
/// The number of windows per second of a run with a rate limit.
const WINDOWS_PER_SECOND: u32 = 10;

/// The result of a replay run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplaySummary {
    /// The id of the run.
    pub run_id: String,
    /// The number of messages of the run.
    pub messages: u64,
    /// The number of replayed messages, including those before the run was resumed.
    pub replayed: u64,
    /// The number of messages that the broker could not route to a queue.
    pub returned: u64,
    /// The number of messages that were no longer dead letters.
    pub missing: u64,
}

/// The connections and callbacks of a run.
pub struct ReplayContext<'a> {
    /// The connection to the broker. It must hold the dead-letter lock.
    pub connection: &'a Connection,
    /// The database.
    pub database: &'a PgPool,
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
    /// Ends the run between two windows.
    pub interrupt: &'a CancellationToken,
    /// Called for each message when its outcome is recorded.
    pub on_progress: &'a (dyn Fn(&ReplayProgress<'_>) + Sync),
}

/// The outcome of a message, and the progress of its run.
#[derive(Debug, Serialize)]
pub struct ReplayProgress<'a> {
    /// The id of the run.
    pub run_id: &'a str,
    /// The number of the message within the run.
    pub number: i64,
    /// The event's id.
    pub id: Option<&'a str>,
    /// The work queue that it failed in.
    pub queue: &'a str,
    /// The outcome.
    pub outcome: ReplayOutcome,
    /// The number of replayed messages of the run.
    pub replayed: u64,
    /// The number of messages of the run.
    pub total: u64,
}

/// Records a selection as a run and executes it.
///
/// # Errors
/// Returns [`MessagingError::Database`] if the run cannot be recorded. After that, returns
/// [`MessagingError::ReplayFailed`] if the broker or the database returns an error, and
/// [`MessagingError::ReplayInterrupted`] on an interrupt. Such a run can be resumed.
pub async fn run(
    context: &ReplayContext<'_>,
    request: &ReplayRequest,
    selection: ReplaySelection,
    edited: Option<&EditedEvent>,
    limits: ReplayLimits,
) -> Result<ReplaySummary, MessagingError> {
    let run_id = format!("rep_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let ReplaySelection { plan, unacked } = selection;
    replay_audit::record_run(
        context.database,
        &run_id,
        &plan.digest,
        request.to_exchange,
        &serde_json::to_value(request).unwrap_or_default(),
        &plan.letters,
        edited,
    )
    .await?;
    execute(context, &run_id, limits, unacked).await
}

/// Resumes an unfinished run.
///
/// # Errors
/// Returns [`MessagingError::ReplayRunNotFound`] if there is no such run; otherwise like [`run`].
pub async fn resume(
    context: &ReplayContext<'_>,
    run_id: &str,
    limits: ReplayLimits,
) -> Result<ReplaySummary, MessagingError> {
    execute(context, run_id, limits, BTreeMap::new()).await
}

/// Executes the remaining messages of a run. Unacknowledged letters are not read again.
async fn execute(
    context: &ReplayContext<'_>,
    run_id: &str,
    limits: ReplayLimits,
    unacked: BTreeMap<String, UnackedQueue>,
) -> Result<ReplaySummary, MessagingError> {
    let (to_exchange, entries) = replay_audit::load_entries(context.database, run_id).await?;
    let mut summary = ReplaySummary {
        run_id: run_id.to_owned(),
        messages: entries.len() as u64,
        ..ReplaySummary::default()
    };
    let mut queues: BTreeMap<String, RemainingEntries> = BTreeMap::new();
    for entry in entries {
        match entry.outcome {
            Some(ReplayOutcome::Replayed) => summary.replayed += 1,
            Some(ReplayOutcome::Missing) => {
                summary.missing += 1;
                continue;
            }
            // A queue may be bound now.
            Some(ReplayOutcome::Returned) | None => {}
        }
        queues.entry(entry.queue.clone()).or_default().add(entry);
    }
    let mut executor = ReplayExecutor {
        context,
        run_id,
        to_exchange,
        summary,
    };
    match executor.replay_queues(queues, limits, unacked).await {
        Ok(()) => Ok(executor.summary),
        Err(interrupted @ MessagingError::ReplayInterrupted { .. }) => Err(interrupted),
        Err(error) => Err(MessagingError::ReplayFailed {
            run: run_id.to_owned(),
            replayed: executor.summary.replayed,
            total: executor.summary.messages,
            source: Box::new(error),
        }),
    }
}

async fn open_confirm_channel(connection: &Connection) -> Result<Channel, MessagingError> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// Limits the rate of a run.
struct RateLimiter {
    rate: Option<u32>,
    /// The maximum number of letters per window.
    window_size: usize,
    started_at: Instant,
    published: u32,
}

impl RateLimiter {
    fn new(limits: ReplayLimits) -> Self {
        let rate = limits.max_per_second.filter(|rate| *rate > 0);
        let max_size = (usize::from(limits.max_in_flight) / MAX_WINDOWS).max(1);
        let paced_size = rate.map_or(max_size, |rate| (rate / WINDOWS_PER_SECOND).max(1) as usize);
        Self {
            rate,
            window_size: max_size.min(paced_size),
            started_at: Instant::now(),
            published: 0,
        }
    }

    /// Waits until `count` more messages are allowed.
    async fn acquire(&mut self, count: usize) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs(1) * self.published / rate;
            tokio::time::sleep_until((self.started_at + due).into()).await;
        }
        self.published = self
            .published
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// The entries of a queue whose letters are not found yet, by fingerprint. Letters can be equal,
/// for example after an import of letters that are still in the queue.
#[derive(Debug, Default)]
struct RemainingEntries {
    entries: HashMap<String, Vec<ReplayEntry>>,
    count: usize,
}

impl RemainingEntries {
    fn add(&mut self, entry: ReplayEntry) {
        let equal = self.entries.entry(entry.fingerprint.clone()).or_default();
        equal.push(entry);
        self.count += 1;
    }

    fn take(&mut self, fingerprint: &str) -> Option<ReplayEntry> {
        let entry = self.entries.get_mut(fingerprint)?.pop()?;
        self.count -= 1;
        Some(entry)
    }

    const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn into_entries(self) -> impl Iterator<Item = ReplayEntry> {
        self.entries.into_values().flatten()
    }
}

/// A letter of the run that was read and not yet acknowledged.
pub(super) struct InFlightLetter {
    pub(super) entry: ReplayEntry,
    pub(super) unacked: UnackedLetter,
}

/// The source of the dead letters of one queue.
struct QueueSource {
    reader: LetterReader,
    /// The letters that the selection has read already. `None` to read from the queue.
    prefetched: Option<VecDeque<UnackedLetter>>,
    remaining: RemainingEntries,
}

impl QueueSource {
    async fn next(&mut self) -> Result<Option<UnackedLetter>, MessagingError> {
        match &mut self.prefetched {
            Some(letters) => Ok(letters.pop_front()),
            None => self.reader.next().await,
        }
    }

    /// Reads the next window of letters to replay. Empty if there are no more.
    async fn next_window(&mut self, size: usize) -> Result<Vec<InFlightLetter>, MessagingError> {
        let mut window = Vec::new();
        while window.len() < size && !self.remaining.is_empty() {
            let Some(unacked) = self.next().await? else {
                break;
            };
            let Some(entry) = self.remaining.take(&unacked.letter.fingerprint) else {
                continue;
            };
            if entry.outcome == Some(ReplayOutcome::Replayed) {
                // It was recorded, but not acknowledged.
                self.reader.ack(&unacked).await?;
                continue;
            }
            window.push(InFlightLetter { entry, unacked });
        }
        Ok(window)
    }
}

/// Letters that were published, and whose outcomes are not recorded yet.
struct PublishedWindow {
    letters: Vec<InFlightLetter>,
    /// The channel on which they are confirmed.
    channel: Channel,
    confirms: PendingConfirms,
}

/// Executes the messages of a run.
struct ReplayExecutor<'a> {
    context: &'a ReplayContext<'a>,
    run_id: &'a str,
    to_exchange: bool,
    summary: ReplaySummary,
}

impl ReplayExecutor<'_> {
    /// Replays the remaining messages of each queue and records the end of the run.
    async fn replay_queues(
        &mut self,
        queues: BTreeMap<String, RemainingEntries>,
        limits: ReplayLimits,
        mut unacked: BTreeMap<String, UnackedQueue>,
    ) -> Result<(), MessagingError> {
        let connection = self.context.connection;
        let channels = [
            open_confirm_channel(connection).await?,
            open_confirm_channel(connection).await?,
        ];
        let mut rate_limiter = RateLimiter::new(limits);
        for (queue, remaining) in queues {
            let mut source = match unacked.remove(&queue) {
                Some(UnackedQueue { reader, letters }) => QueueSource {
                    reader,
                    prefetched: Some(letters),
                    remaining,
                },
                None => QueueSource {
                    reader: LetterReader::open(connection, &queue).await?,
                    prefetched: None,
                    remaining,
                },
            };
            self.replay_queue(&channels, &mut source, &mut rate_limiter)
                .await?;
            source.reader.requeue_and_close().await?;
            self.record_missing(source.remaining).await?;
        }
        replay_audit::record_end(self.context.database, self.run_id).await
    }

    /// Publishes, records and acknowledges each letter, in this order.
    async fn replay_queue(
        &mut self,
        channels: &[Channel; MAX_WINDOWS],
        source: &mut QueueSource,
        rate_limiter: &mut RateLimiter,
    ) -> Result<(), MessagingError> {
        let mut published: Option<PublishedWindow> = None;
        for channel in channels.iter().cycle() {
            // Both complete even if the other one fails, so that published letters are
            // recorded.
            let (recorded, next) = tokio::join!(
                self.record_window(published.take()),
                self.publish_window(channel, source, rate_limiter)
            );
            self.ack_window(source, &recorded?).await?;
            published = next?;
            if published.is_none() {
                break;
            }
        }
        if self.context.interrupt.is_cancelled() && !source.remaining.is_empty() {
            return Err(MessagingError::ReplayInterrupted {
                run: self.run_id.to_owned(),
                replayed: self.summary.replayed,
                total: self.summary.messages,
            });
        }
        Ok(())
    }

    /// Reads the next window and publishes it. `None` if no letters remain or the run is
    /// interrupted.
    async fn publish_window(
        &self,
        channel: &Channel,
        source: &mut QueueSource,
        rate_limiter: &mut RateLimiter,
    ) -> Result<Option<PublishedWindow>, MessagingError> {
        let interrupt = self.context.interrupt;
        if interrupt.is_cancelled() {
            return Ok(None);
        }
        let letters = source.next_window(rate_limiter.window_size).await?;
        if letters.is_empty() {
            return Ok(None);
        }
        tokio::select! {
            () = rate_limiter.acquire(letters.len()) => {}
            () = interrupt.cancelled() => {
                letters.into_iter().for_each(|letter| source.remaining.add(letter.entry));
                return Ok(None);
            }
        }
        let messages: Vec<OutgoingMessage> = letters
            .iter()
            .map(|letter| to_replay_message(&letter.entry, &letter.unacked, self.to_exchange))
            .collect();
        let confirms = dm_amqp::publish(channel, &messages).await?;
        Ok(Some(PublishedWindow {
            letters,
            channel: channel.clone(),
            confirms,
        }))
    }

    /// Waits for the confirms of a window and records the outcomes. Returns the letters with
    /// whether they were confirmed.
    async fn record_window(
        &self,
        window: Option<PublishedWindow>,
    ) -> Result<Vec<(InFlightLetter, bool)>, MessagingError> {
        let Some(PublishedWindow {
            letters,
            channel,
            confirms,
        }) = window
        else {
            return Ok(Vec::new());
        };
        let outcomes = confirms.wait_for_confirms(&channel).await?;
        let confirmed = outcomes
            .iter()
            .map(|outcome| *outcome == PublishOutcome::Confirmed);
        let letters: Vec<_> = letters.into_iter().zip(confirmed).collect();
        for (outcome, is_confirmed) in [
            (ReplayOutcome::Replayed, true),
            (ReplayOutcome::Returned, false),
        ] {
            let numbers: Vec<i64> = letters
                .iter()
                .filter(|(_, confirmed)| *confirmed == is_confirmed)
                .map(|(letter, _)| letter.entry.number)
                .collect();
            replay_audit::record_outcome(self.context.database, self.run_id, &numbers, outcome)
                .await?;
        }
        let records = FailureRecords {
            database: self.context.database,
            service_tables: self.context.service_tables,
        };
        let replayed = letters.iter().filter(|(_, confirmed)| *confirmed);
        let replayed = replayed.map(|(letter, _)| &letter.unacked.letter);
        records.resolve(replayed, Resolution::Replayed).await?;
        Ok(letters)
    }

    /// Acknowledges the letters that are recorded as replayed.
    async fn ack_window(
        &mut self,
        source: &mut QueueSource,
        letters: &[(InFlightLetter, bool)],
    ) -> Result<(), MessagingError> {
        for (letter, confirmed) in letters {
            let outcome = if *confirmed {
                source.reader.ack(&letter.unacked).await?;
                self.summary.replayed += 1;
                ReplayOutcome::Replayed
            } else {
                self.summary.returned += 1;
                ReplayOutcome::Returned
            };
            self.report_progress(&letter.entry, outcome);
        }
        Ok(())
    }

    /// Records the messages that are no longer dead letters.
    async fn record_missing(&mut self, remaining: RemainingEntries) -> Result<(), MessagingError> {
        // Messages recorded as replayed are gone because they were acknowledged.
        let missing: Vec<ReplayEntry> = remaining
            .into_entries()
            .filter(|entry| entry.outcome != Some(ReplayOutcome::Replayed))
            .collect();
        let numbers: Vec<i64> = missing.iter().map(|entry| entry.number).collect();
        replay_audit::record_outcome(
            self.context.database,
            self.run_id,
            &numbers,
            ReplayOutcome::Missing,
        )
        .await?;
        self.summary.missing += numbers.len() as u64;
        for entry in &missing {
            self.report_progress(entry, ReplayOutcome::Missing);
        }
        Ok(())
    }

    fn report_progress(&self, entry: &ReplayEntry, outcome: ReplayOutcome) {
        (self.context.on_progress)(&ReplayProgress {
            run_id: self.run_id,
            number: entry.number,
            id: entry.event_id.as_deref(),
            queue: &entry.queue,
            outcome,
            replayed: self.summary.replayed,
            total: self.summary.messages,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_letters_are_taken_one_by_one() {
        let entry = |number| ReplayEntry {
            number,
            queue: "q".into(),
            fingerprint: "a".into(),
            event_id: None,
            outcome: None,
            replacement: None,
        };
        let mut remaining = RemainingEntries::default();
        remaining.add(entry(1));
        remaining.add(entry(2));
        assert_eq!(remaining.take("b"), None);
        let mut taken =
            [remaining.take("a"), remaining.take("a")].map(|entry| entry.unwrap().number);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        assert!(remaining.is_empty() && remaining.take("a").is_none());
    }
}
