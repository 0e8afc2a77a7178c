//! A replay under way.
//!
//! It goes window by window, and two at a time: while the broker confirms one and the
//! audit notes it, the next one is read and published.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use dm_amqp::{PendingConfirms, PublishOutcome as Fate};
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

/// How many windows are under way at most.
const MAX_WINDOWS: usize = 2;
/// How often a paced run publishes, in windows a second.
const WINDOWS_PER_SECOND: u32 = 10;

/// What a run has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplaySummary {
    /// The run's id.
    pub run: String,
    /// How many it is about.
    pub messages: u64,
    /// How many are back in their queues, those of an earlier attempt at the run
    /// included.
    pub replayed: u64,
    /// How many the broker had no queue for.
    pub returned: u64,
    /// How many were no longer there.
    pub missing: u64,
}

/// The ways that a run needs, and how it is told of.
pub struct ReplayContext<'a> {
    /// The broker. Its turn at the dead letters must be had.
    pub connection: &'a Connection,
    /// The database.
    pub database: &'a PgPool,
    /// The services' tables.
    pub service_tables: &'a [ServiceTables],
    /// Ends the run between two messages.
    pub interrupt: &'a CancellationToken,
    /// Told of each message once its outcome is noted.
    pub on_progress: &'a (dyn Fn(&ReplayProgress<'_>) + Sync),
}

/// What became of a message of a run.
#[derive(Debug, Serialize)]
pub struct ReplayProgress<'a> {
    /// The run.
    pub run: &'a str,
    /// Its place in the set.
    pub number: i64,
    /// The event's id.
    pub id: Option<&'a str>,
    /// The work queue that it failed in.
    pub queue: &'a str,
    /// What became of it.
    pub outcome: ReplayOutcome,
    /// How many of the run are back in their queues …
    pub done: u64,
    /// … of how many.
    pub of: u64,
}

/// Freezes a selection and carries it out.
///
/// # Errors
/// The broker or the database fails, or somebody interrupts: the run can be resumed.
pub async fn run(
    context: &ReplayContext<'_>,
    request: &ReplayRequest,
    selection: ReplaySelection,
    edited: Option<&EditedEvent>,
    limits: ReplayLimits,
) -> Result<ReplaySummary, MessagingError> {
    let run = format!("rep_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let ReplaySelection {
        plan,
        unacked: in_hand,
    } = selection;
    replay_audit::record_run(
        context.database,
        &run,
        &plan.digest,
        request.to_exchange,
        &serde_json::to_value(request).unwrap_or_default(),
        &plan.letters,
        edited,
    )
    .await?;
    execute(context, &run, limits, in_hand).await
}

/// Carries on with a run, from wherever it was cut short.
///
/// # Errors
/// As [`run`], and [`MessagingError::NoRun`].
pub async fn resume(
    context: &ReplayContext<'_>,
    run: &str,
    limits: ReplayLimits,
) -> Result<ReplaySummary, MessagingError> {
    execute(context, run, limits, BTreeMap::new()).await
}

/// Does what is left of a run. Letters that are in hand are not read again.
async fn execute(
    context: &ReplayContext<'_>,
    run: &str,
    limits: ReplayLimits,
    mut unacked: BTreeMap<String, UnackedQueue>,
) -> Result<ReplaySummary, MessagingError> {
    let (to_exchange, entries) = replay_audit::load_entries(context.database, run).await?;
    let mut work = ReplayExecutor {
        context,
        run_id: run,
        to_exchange,
        channels: [
            open_confirm_channel(context.connection).await?,
            open_confirm_channel(context.connection).await?,
        ],
        summary: ReplaySummary {
            run: run.to_owned(),
            messages: entries.len() as u64,
            ..ReplaySummary::default()
        },
    };
    let mut queues: BTreeMap<String, RemainingEntries> = BTreeMap::new();
    for entry in entries {
        match entry.outcome {
            Some(ReplayOutcome::Replayed) => work.summary.replayed += 1,
            Some(ReplayOutcome::Missing) => {
                work.summary.missing += 1;
                continue;
            }
            // There may be a queue for it now.
            Some(ReplayOutcome::Returned) | None => {}
        }
        queues.entry(entry.queue.clone()).or_default().add(entry);
    }
    let mut pace = RateLimiter::new(limits);
    for (queue, left) in queues {
        let mut source = match unacked.remove(&queue) {
            Some(UnackedQueue {
                reader: pass,
                letters,
            }) => QueueSource {
                reader: pass,
                prefetched: Some(letters),
                remaining: left,
            },
            None => QueueSource {
                reader: LetterReader::open(context.connection, &queue).await?,
                prefetched: None,
                remaining: left,
            },
        };
        work.replay_queue(&mut source, &mut pace).await?;
        source.reader.requeue_and_close().await?;
        work.record_missing(source.remaining).await?;
    }
    replay_audit::record_end(context.database, run).await?;
    Ok(work.summary)
}

async fn open_confirm_channel(connection: &Connection) -> Result<Channel, MessagingError> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// How fast a run may go.
struct RateLimiter {
    rate: Option<u32>,
    /// How many letters there are to a window at most.
    window_size: usize,
    started_at: Instant,
    published: u32,
}

impl RateLimiter {
    fn new(limits: ReplayLimits) -> Self {
        let rate = limits.max_per_second.filter(|rate| *rate > 0);
        let window = (usize::from(limits.max_in_flight) / MAX_WINDOWS).max(1);
        let even = rate.map_or(window, |rate| (rate / WINDOWS_PER_SECOND).max(1) as usize);
        Self {
            rate,
            window_size: window.min(even),
            started_at: Instant::now(),
            published: 0,
        }
    }

    /// Waits until so many more are allowed.
    async fn acquire(&mut self, more: usize) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs(1) * self.published / rate;
            tokio::time::sleep_until((self.started_at + due).into()).await;
        }
        self.published = self
            .published
            .saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }
}

/// What is left to be found of a queue. Letters can be alike to the last byte, as after
/// an import of what is still there.
#[derive(Debug, Default)]
struct RemainingEntries {
    entries: HashMap<String, Vec<ReplayEntry>>,
    count: usize,
}

impl RemainingEntries {
    fn add(&mut self, entry: ReplayEntry) {
        let alike = self.entries.entry(entry.fingerprint.clone()).or_default();
        alike.push(entry);
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

/// A letter of the run, in hand: read, and neither published nor acknowledged.
pub(super) struct InFlightLetter {
    pub(super) entry: ReplayEntry,
    pub(super) unacked: UnackedLetter,
}

/// The dead letters of one queue.
struct QueueSource {
    reader: LetterReader,
    /// What was read before; otherwise it is read now.
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

    /// The next ones that are to go back; none where there are no more.
    async fn next_window(&mut self, size: usize) -> Result<Vec<InFlightLetter>, MessagingError> {
        let mut window = Vec::new();
        while window.len() < size && !self.remaining.is_empty() {
            let Some(found) = self.next().await? else {
                break;
            };
            let Some(entry) = self.remaining.take(&found.letter.fingerprint) else {
                continue;
            };
            if entry.outcome == Some(ReplayOutcome::Replayed) {
                // It was noted, and not acknowledged any more.
                self.reader.ack(&found).await?;
                continue;
            }
            window.push(InFlightLetter {
                entry,
                unacked: found,
            });
        }
        Ok(window)
    }
}

/// Letters that were published, and of which nothing is noted.
struct PublishedWindow {
    letters: Vec<InFlightLetter>,
    channel_index: usize,
    confirms: PendingConfirms,
}

/// A run under way.
struct ReplayExecutor<'a> {
    context: &'a ReplayContext<'a>,
    run_id: &'a str,
    to_exchange: bool,
    channels: [Channel; MAX_WINDOWS],
    summary: ReplaySummary,
}

impl ReplayExecutor<'_> {
    /// Publishes, notes, acknowledges: in that order for each letter.
    async fn replay_queue(
        &mut self,
        source: &mut QueueSource,
        rate_limiter: &mut RateLimiter,
    ) -> Result<(), MessagingError> {
        let mut under_way: Option<PublishedWindow> = None;
        for lane in (0..MAX_WINDOWS).cycle() {
            // Both to their ends, whatever becomes of the other: what was published
            // should be noted.
            let (noted, next) = tokio::join!(
                self.record_window(under_way.take()),
                self.publish_window(source, rate_limiter, lane)
            );
            self.ack_window(source, &noted?).await?;
            under_way = next?;
            if under_way.is_none() {
                break;
            }
        }
        if self.context.interrupt.is_cancelled() && !source.remaining.is_empty() {
            return Err(MessagingError::ReplayInterrupted {
                run: self.run_id.to_owned(),
                replayed: self.summary.replayed,
                of: self.summary.messages,
            });
        }
        Ok(())
    }

    /// Reads the next window and publishes it; none where all of them are done or
    /// somebody interrupts.
    async fn publish_window(
        &self,
        source: &mut QueueSource,
        rate_limiter: &mut RateLimiter,
        channel_index: usize,
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
                letters.into_iter().for_each(|held| source.remaining.add(held.entry));
                return Ok(None);
            }
        }
        let messages: Vec<OutgoingMessage> = letters
            .iter()
            .map(|held| to_replay_message(&held.entry, &held.unacked, self.to_exchange))
            .collect();
        let sent = dm_amqp::publish(&self.channels[channel_index], &messages).await?;
        Ok(Some(PublishedWindow {
            letters,
            channel_index,
            confirms: sent,
        }))
    }

    /// Waits for the confirms of a window and notes what they say: whether each letter is
    /// back in a queue.
    async fn record_window(
        &self,
        window: Option<PublishedWindow>,
    ) -> Result<Vec<(InFlightLetter, bool)>, MessagingError> {
        let Some(PublishedWindow {
            letters,
            channel_index: lane,
            confirms: sent,
        }) = window
        else {
            return Ok(Vec::new());
        };
        let fates = sent.wait_for_confirms(&self.channels[lane]).await?;
        let fates = fates.iter().map(|fate| *fate == Fate::Confirmed);
        let letters: Vec<_> = letters.into_iter().zip(fates).collect();
        for (outcome, there) in [
            (ReplayOutcome::Replayed, true),
            (ReplayOutcome::Returned, false),
        ] {
            let numbers: Vec<i64> = letters
                .iter()
                .filter(|(_, taken)| *taken == there)
                .map(|(held, _)| held.entry.number)
                .collect();
            replay_audit::record_outcome(self.context.database, self.run_id, &numbers, outcome)
                .await?;
        }
        let records = FailureRecords {
            database: self.context.database,
            service_tables: self.context.service_tables,
        };
        let back = letters.iter().filter(|(_, taken)| *taken);
        let back = back.map(|(held, _)| &held.unacked.letter);
        records.resolve(back, Resolution::Replayed).await?;
        Ok(letters)
    }

    /// Takes out of the dead letters what is noted to be back in a queue.
    async fn ack_window(
        &mut self,
        source: &mut QueueSource,
        letters: &[(InFlightLetter, bool)],
    ) -> Result<(), MessagingError> {
        for (held, taken) in letters {
            let outcome = if *taken {
                source.reader.ack(&held.unacked).await?;
                self.summary.replayed += 1;
                ReplayOutcome::Replayed
            } else {
                self.summary.returned += 1;
                ReplayOutcome::Returned
            };
            self.report_progress(&held.entry, outcome);
        }
        Ok(())
    }

    /// Notes what is no longer among the dead letters.
    async fn record_missing(&mut self, remaining: RemainingEntries) -> Result<(), MessagingError> {
        // What was noted as replayed is gone because it was acknowledged.
        let gone: Vec<ReplayEntry> = remaining
            .into_entries()
            .filter(|entry| entry.outcome != Some(ReplayOutcome::Replayed))
            .collect();
        let numbers: Vec<i64> = gone.iter().map(|entry| entry.number).collect();
        replay_audit::record_outcome(
            self.context.database,
            self.run_id,
            &numbers,
            ReplayOutcome::Missing,
        )
        .await?;
        self.summary.missing += numbers.len() as u64;
        for entry in &gone {
            self.report_progress(entry, ReplayOutcome::Missing);
        }
        Ok(())
    }

    fn report_progress(&self, entry: &ReplayEntry, outcome: ReplayOutcome) {
        (self.context.on_progress)(&ReplayProgress {
            run: self.run_id,
            number: entry.number,
            id: entry.event_id.as_deref(),
            queue: &entry.queue,
            outcome,
            done: self.summary.replayed,
            of: self.summary.messages,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_alike_are_taken_one_by_one() {
        let entry = |number| ReplayEntry {
            number,
            queue: "q".into(),
            fingerprint: "a".into(),
            event_id: None,
            outcome: None,
            replacement: None,
        };
        let mut left = RemainingEntries::default();
        left.add(entry(1));
        left.add(entry(2));
        assert_eq!(left.take("b"), None);
        let mut taken = [left.take("a"), left.take("a")].map(|entry| entry.unwrap().number);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        assert!(left.is_empty() && left.take("a").is_none());
    }
}
