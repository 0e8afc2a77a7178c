//! A replay under way.
//!
//! It goes window by window, and two at a time: while the broker confirms one and the
//! audit notes it, the next one is read and published.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use dm_amqp::{Outcome as Fate, Sent};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use serde::Serialize;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outgoing::outgoing;
use super::selection::{InHand, Selection};
use super::{Request, Speed};
use crate::MessagingError;
use crate::broker::Outgoing;
use crate::dead::audit::{self, Edited, Entry, Outcome};
use crate::dead::pass::{Found, Pass};
use crate::dead::records::{Records, Resolution};
use crate::stores::Store;

/// How many windows are under way at most.
const LANES: usize = 2;
/// How often a paced run publishes, in windows a second.
const PACE: u32 = 10;

/// What a run has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
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
pub struct Site<'a> {
    /// The broker. Its turn at the dead letters must be had.
    pub connection: &'a Connection,
    /// The database.
    pub database: &'a PgPool,
    /// The services' tables.
    pub stores: &'a [Store],
    /// Ends the run between two messages.
    pub interrupt: &'a CancellationToken,
    /// Told of each message once its outcome is noted.
    pub told: &'a (dyn Fn(&Told<'_>) + Sync),
}

/// What became of a message of a run.
#[derive(Debug, Serialize)]
pub struct Told<'a> {
    /// The run.
    pub run: &'a str,
    /// Its place in the set.
    pub number: i64,
    /// The event's id.
    pub id: Option<&'a str>,
    /// The work queue that it failed in.
    pub queue: &'a str,
    /// What became of it.
    pub outcome: Outcome,
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
    site: &Site<'_>,
    request: &Request,
    selection: Selection,
    edited: Option<&Edited>,
    speed: Speed,
) -> Result<Replayed, MessagingError> {
    let run = format!("rep_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let Selection { plan, in_hand } = selection;
    audit::begin(
        site.database,
        &run,
        &plan.digest,
        request.to_exchange,
        &serde_json::to_value(request).unwrap_or_default(),
        &plan.letters,
        edited,
    )
    .await?;
    carry_on(site, &run, speed, in_hand).await
}

/// Carries on with a run, from wherever it was cut short.
///
/// # Errors
/// As [`run`], and [`MessagingError::NoRun`].
pub async fn resume(site: &Site<'_>, run: &str, speed: Speed) -> Result<Replayed, MessagingError> {
    carry_on(site, run, speed, BTreeMap::new()).await
}

/// Does what is left of a run. Letters that are in hand are not read again.
async fn carry_on(
    site: &Site<'_>,
    run: &str,
    speed: Speed,
    mut in_hand: BTreeMap<String, InHand>,
) -> Result<Replayed, MessagingError> {
    let (to_exchange, entries) = audit::entries(site.database, run).await?;
    let mut work = Work {
        site,
        run,
        to_exchange,
        lanes: [lane(site.connection).await?, lane(site.connection).await?],
        done: Replayed {
            run: run.to_owned(),
            messages: entries.len() as u64,
            ..Replayed::default()
        },
    };
    let mut queues: BTreeMap<String, Left> = BTreeMap::new();
    for entry in entries {
        match entry.outcome {
            Some(Outcome::Replayed) => work.done.replayed += 1,
            Some(Outcome::Missing) => {
                work.done.missing += 1;
                continue;
            }
            // There may be a queue for it now.
            Some(Outcome::Returned) | None => {}
        }
        queues.entry(entry.queue.clone()).or_default().add(entry);
    }
    let mut pace = Pace::new(speed);
    for (queue, left) in queues {
        let mut source = match in_hand.remove(&queue) {
            Some(InHand { pass, letters }) => Source {
                pass,
                letters: Some(letters),
                left,
            },
            None => Source {
                pass: Pass::open(site.connection, &queue).await?,
                letters: None,
                left,
            },
        };
        work.send(&mut source, &mut pace).await?;
        source.pass.close().await?;
        work.missing(source.left).await?;
    }
    audit::end(site.database, run).await?;
    Ok(work.done)
}

async fn lane(connection: &Connection) -> Result<Channel, MessagingError> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// How fast a run may go.
struct Pace {
    rate: Option<u32>,
    /// How many letters there are to a window at most.
    window: usize,
    began: Instant,
    published: u32,
}

impl Pace {
    fn new(speed: Speed) -> Self {
        let rate = speed.rate.filter(|rate| *rate > 0);
        let window = (usize::from(speed.in_flight) / LANES).max(1);
        let even = rate.map_or(window, |rate| (rate / PACE).max(1) as usize);
        Self {
            rate,
            window: window.min(even),
            began: Instant::now(),
            published: 0,
        }
    }

    /// Waits until so many more are allowed.
    async fn allows(&mut self, more: usize) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs(1) * self.published / rate;
            tokio::time::sleep_until((self.began + due).into()).await;
        }
        self.published = self
            .published
            .saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }
}

/// What is left to be found of a queue. Letters can be alike to the last byte, as after
/// an import of what is still there.
#[derive(Debug, Default)]
struct Left {
    entries: HashMap<String, Vec<Entry>>,
    count: usize,
}

impl Left {
    fn add(&mut self, entry: Entry) {
        let alike = self.entries.entry(entry.fingerprint.clone()).or_default();
        alike.push(entry);
        self.count += 1;
    }

    fn take(&mut self, fingerprint: &str) -> Option<Entry> {
        let entry = self.entries.get_mut(fingerprint)?.pop()?;
        self.count -= 1;
        Some(entry)
    }

    const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_values().flatten()
    }
}

/// A letter of the run, in hand: read, and neither published nor acknowledged.
pub(super) struct Held {
    pub(super) entry: Entry,
    pub(super) found: Found,
}

/// The dead letters of one queue.
struct Source {
    pass: Pass,
    /// What was read before; otherwise it is read now.
    letters: Option<VecDeque<Found>>,
    left: Left,
}

impl Source {
    async fn next(&mut self) -> Result<Option<Found>, MessagingError> {
        match &mut self.letters {
            Some(letters) => Ok(letters.pop_front()),
            None => self.pass.next().await,
        }
    }

    /// The next ones that are to go back; none where there are no more.
    async fn window(&mut self, size: usize) -> Result<Vec<Held>, MessagingError> {
        let mut window = Vec::new();
        while window.len() < size && !self.left.is_empty() {
            let Some(found) = self.next().await? else {
                break;
            };
            let Some(entry) = self.left.take(&found.letter.fingerprint) else {
                continue;
            };
            if entry.outcome == Some(Outcome::Replayed) {
                // It was noted, and not acknowledged any more.
                self.pass.take(&found).await?;
                continue;
            }
            window.push(Held { entry, found });
        }
        Ok(window)
    }
}

/// Letters that were published, and of which nothing is noted.
struct Window {
    letters: Vec<Held>,
    lane: usize,
    sent: Sent,
}

/// A run under way.
struct Work<'a> {
    site: &'a Site<'a>,
    run: &'a str,
    to_exchange: bool,
    lanes: [Channel; LANES],
    done: Replayed,
}

impl Work<'_> {
    /// Publishes, notes, acknowledges: in that order for each letter.
    async fn send(&mut self, source: &mut Source, pace: &mut Pace) -> Result<(), MessagingError> {
        let mut under_way: Option<Window> = None;
        for lane in (0..LANES).cycle() {
            // Both to their ends, whatever becomes of the other: what was published
            // should be noted.
            let (noted, next) = tokio::join!(
                self.note(under_way.take()),
                self.publish(source, pace, lane)
            );
            self.acknowledge(source, &noted?).await?;
            under_way = next?;
            if under_way.is_none() {
                break;
            }
        }
        if self.site.interrupt.is_cancelled() && !source.left.is_empty() {
            return Err(MessagingError::Interrupted {
                run: self.run.to_owned(),
                replayed: self.done.replayed,
                of: self.done.messages,
            });
        }
        Ok(())
    }

    /// Reads the next window and publishes it; none where all of them are done or
    /// somebody interrupts.
    async fn publish(
        &self,
        source: &mut Source,
        pace: &mut Pace,
        lane: usize,
    ) -> Result<Option<Window>, MessagingError> {
        let interrupt = self.site.interrupt;
        if interrupt.is_cancelled() {
            return Ok(None);
        }
        let letters = source.window(pace.window).await?;
        if letters.is_empty() {
            return Ok(None);
        }
        tokio::select! {
            () = pace.allows(letters.len()) => {}
            () = interrupt.cancelled() => {
                letters.into_iter().for_each(|held| source.left.add(held.entry));
                return Ok(None);
            }
        }
        let messages: Vec<Outgoing> = letters
            .iter()
            .map(|held| outgoing(&held.entry, &held.found, self.to_exchange))
            .collect();
        let sent = dm_amqp::send(&self.lanes[lane], &messages).await?;
        Ok(Some(Window {
            letters,
            lane,
            sent,
        }))
    }

    /// Waits for the confirms of a window and notes what they say: whether each letter is
    /// back in a queue.
    async fn note(&self, window: Option<Window>) -> Result<Vec<(Held, bool)>, MessagingError> {
        let Some(Window {
            letters,
            lane,
            sent,
        }) = window
        else {
            return Ok(Vec::new());
        };
        let fates = sent.settle(&self.lanes[lane]).await?;
        let fates = fates.iter().map(|fate| *fate == Fate::Confirmed);
        let letters: Vec<_> = letters.into_iter().zip(fates).collect();
        for (outcome, there) in [(Outcome::Replayed, true), (Outcome::Returned, false)] {
            let numbers: Vec<i64> = letters
                .iter()
                .filter(|(_, taken)| *taken == there)
                .map(|(held, _)| held.entry.number)
                .collect();
            audit::decide(self.site.database, self.run, &numbers, outcome).await?;
        }
        let records = Records {
            database: self.site.database,
            stores: self.site.stores,
        };
        let back = letters.iter().filter(|(_, taken)| *taken);
        let back = back.map(|(held, _)| &held.found.letter);
        records.resolve(back, Resolution::Replayed).await?;
        Ok(letters)
    }

    /// Takes out of the dead letters what is noted to be back in a queue.
    async fn acknowledge(
        &mut self,
        source: &mut Source,
        letters: &[(Held, bool)],
    ) -> Result<(), MessagingError> {
        for (held, taken) in letters {
            let outcome = if *taken {
                source.pass.take(&held.found).await?;
                self.done.replayed += 1;
                Outcome::Replayed
            } else {
                self.done.returned += 1;
                Outcome::Returned
            };
            self.tell(&held.entry, outcome);
        }
        Ok(())
    }

    /// Notes what is no longer among the dead letters.
    async fn missing(&mut self, left: Left) -> Result<(), MessagingError> {
        // What was noted as replayed is gone because it was acknowledged.
        let gone: Vec<Entry> = left
            .into_entries()
            .filter(|entry| entry.outcome != Some(Outcome::Replayed))
            .collect();
        let numbers: Vec<i64> = gone.iter().map(|entry| entry.number).collect();
        audit::decide(self.site.database, self.run, &numbers, Outcome::Missing).await?;
        self.done.missing += numbers.len() as u64;
        for entry in &gone {
            self.tell(entry, Outcome::Missing);
        }
        Ok(())
    }

    fn tell(&self, entry: &Entry, outcome: Outcome) {
        (self.site.told)(&Told {
            run: self.run,
            number: entry.number,
            id: entry.event_id.as_deref(),
            queue: &entry.queue,
            outcome,
            done: self.done.replayed,
            of: self.done.messages,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_are_alike_are_taken_one_by_one() {
        let entry = |number| Entry {
            number,
            queue: "q".into(),
            fingerprint: "a".into(),
            event_id: None,
            outcome: None,
            edited: None,
        };
        let mut left = Left::default();
        left.add(entry(1));
        left.add(entry(2));
        assert_eq!(left.take("b"), None);
        let mut taken = [left.take("a"), left.take("a")].map(|entry| entry.unwrap().number);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        assert!(left.is_empty() && left.take("a").is_none());
    }
}
