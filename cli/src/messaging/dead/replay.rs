//! The way back of dead letters.
//!
//! The set is frozen in the audit before anything is done. Each message is read and
//! not acknowledged, published to where it goes and confirmed, noted in the audit, and
//! acknowledged at last. Killed in between, it is still a dead letter: where the audit
//! has it as replayed, resuming only acknowledges it; where it has not, it goes again
//! under the same id, and the inbox absorbs one of the two.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use dm_contracts::headers;
use dm_contracts::topology::{self, dead_letter_queue};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::audit::{self, Edited, Entry, Outcome};
use super::letter::number;
use super::{DeadLetter, Filter, look};
use crate::messaging::MessagingError;
use crate::messaging::broker::{Outgoing, publish};
use crate::messaging::reader::Reader;

/// What is to be replayed, and how.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// From the dead letters of these work queues.
    pub queues: Vec<&'static str>,
    /// Which of them.
    pub filter: Filter,
    /// At most so many, from the head of each queue on.
    pub limit: Option<usize>,
    /// To every queue that takes its routing key, and not to the one that failed.
    pub to_exchange: bool,
    /// Messages that were replayed so often stay where they are.
    pub most_rounds: u64,
    /// How long the inbox of each queue remembers. What failed longer ago stays where it
    /// is: it would be taken twice. A queue that is not in here has no inbox to ask.
    #[serde(skip)]
    pub memory: BTreeMap<String, Duration>,
}

/// How fast.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// At most so many a second.
    pub rate: Option<u32>,
    /// At most so many that are published and not yet acknowledged.
    pub in_flight: u16,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// It went round as often as is allowed.
    Rounds,
    /// The inbox of its queue may have forgotten it.
    Age,
}

/// A set of dead letters, frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What would go back, in order.
    pub letters: Vec<DeadLetter>,
    /// What would stay, and why.
    pub refused: Vec<(DeadLetter, Refusal)>,
    /// Over the fingerprints of what would go back.
    pub digest: String,
}

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

/// Looks for what would be replayed. Nothing changes by that.
///
/// # Errors
/// The broker is away.
pub async fn plan(
    connection: &Connection,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<Plan, MessagingError> {
    let (mut letters, mut refused) = (Vec::new(), Vec::new());
    look::each(
        connection,
        &request.queues,
        &request.filter,
        |letter| match request.refuses(&letter, now) {
            Some(refusal) => refused.push((letter, refusal)),
            None if request.limit.is_none_or(|limit| letters.len() < limit) => letters.push(letter),
            None => {}
        },
    )
    .await?;
    Ok(Plan {
        digest: digest(&letters),
        letters,
        refused,
    })
}

impl Request {
    fn refuses(&self, letter: &DeadLetter, now: DateTime<Utc>) -> Option<Refusal> {
        let age = letter
            .failed_at
            .map(|at| (now - at).to_std().unwrap_or_default());
        if letter.replays >= self.most_rounds {
            Some(Refusal::Rounds)
        } else if let (Some(age), Some(memory)) = (age, self.memory.get(&letter.queue))
            && age > *memory
        {
            Some(Refusal::Age)
        } else {
            None
        }
    }
}

fn digest(letters: &[DeadLetter]) -> String {
    let mut hash = Sha256::new();
    for letter in letters {
        hash.update(&letter.queue);
        hash.update([0]);
        hash.update(&letter.fingerprint);
    }
    hash.finalize()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The ways that a run needs, and how it is told of.
pub struct Site<'a> {
    /// The broker. Its turn at the dead letters must be had.
    pub connection: &'a Connection,
    /// The database.
    pub database: &'a PgPool,
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

/// Freezes a plan and carries it out.
///
/// # Errors
/// The broker or the database fails, or somebody interrupts: the run can be resumed.
pub async fn run(
    site: &Site<'_>,
    request: &Request,
    plan: &Plan,
    edited: Option<&Edited>,
    speed: Speed,
) -> Result<Replayed, MessagingError> {
    let run = format!("rep_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let selection = serde_json::to_value(request).unwrap_or_default();
    audit::begin(
        site.database,
        &run,
        &plan.digest,
        request.to_exchange,
        &selection,
        &plan.letters,
        edited,
    )
    .await?;
    resume(site, &run, speed).await
}

/// Carries on with a run, from wherever it was cut short.
///
/// # Errors
/// As [`run`], and [`MessagingError::NoRun`].
pub async fn resume(site: &Site<'_>, run: &str, speed: Speed) -> Result<Replayed, MessagingError> {
    let (to_exchange, entries) = audit::entries(site.database, run).await?;
    let mut work = Work {
        site,
        run,
        speed,
        to_exchange,
        channel: site.connection.create_channel().await?,
        done: Replayed {
            run: run.to_owned(),
            messages: entries.len() as u64,
            ..Replayed::default()
        },
        began: Instant::now(),
        published: 0,
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
    for (queue, entries) in queues {
        work.queue(&queue, entries).await?;
    }
    audit::end(site.database, run).await?;
    Ok(work.done)
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

/// A run under way.
struct Work<'a> {
    site: &'a Site<'a>,
    run: &'a str,
    speed: Speed,
    to_exchange: bool,
    channel: Channel,
    done: Replayed,
    began: Instant,
    published: u32,
}

impl Work<'_> {
    async fn queue(&mut self, queue: &str, mut left: Left) -> Result<(), MessagingError> {
        let mut reader = Reader::open(self.site.connection, &dead_letter_queue(queue)).await?;
        let mut window = Vec::new();
        let in_flight = usize::from(self.speed.in_flight.max(1));
        while !left.is_empty() {
            let Some((position, delivery)) = reader.next().await? else {
                break;
            };
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            let Some(entry) = left.take(&letter.fingerprint) else {
                continue;
            };
            if entry.outcome == Some(Outcome::Replayed) {
                // It was noted, and not acknowledged any more.
                reader.take(position, &delivery).await?;
                continue;
            }
            window.push((entry, position, delivery));
            if window.len() == in_flight {
                self.send(&mut reader, queue, std::mem::take(&mut window))
                    .await?;
            }
        }
        self.send(&mut reader, queue, window).await?;
        reader.close().await?;
        // What was noted as replayed is gone because it was acknowledged.
        let gone: Vec<Entry> = left
            .into_entries()
            .filter(|entry| entry.outcome != Some(Outcome::Replayed))
            .collect();
        let missing: Vec<i64> = gone.iter().map(|entry| entry.number).collect();
        audit::decide(self.site.database, self.run, &missing, Outcome::Missing).await?;
        self.done.missing += missing.len() as u64;
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

    /// Publishes, notes, acknowledges: in that order.
    async fn send(
        &mut self,
        reader: &mut Reader,
        queue: &str,
        window: Vec<(Entry, u64, Delivery)>,
    ) -> Result<(), MessagingError> {
        if window.is_empty() {
            return Ok(());
        }
        if self.site.interrupt.is_cancelled() {
            return Err(MessagingError::Interrupted {
                run: self.run.to_owned(),
                replayed: self.done.replayed,
                of: self.done.messages,
            });
        }
        self.pace(window.len()).await;
        let messages: Vec<Outgoing> = window
            .iter()
            .map(|(entry, _, delivery)| {
                outgoing(queue, delivery, self.to_exchange, entry.edited.as_ref())
            })
            .collect();
        let taken = publish(&self.channel, &messages).await?;
        let (mut replayed, mut returned) = (Vec::new(), Vec::new());
        for ((entry, ..), &taken) in window.iter().zip(&taken) {
            if taken { &mut replayed } else { &mut returned }.push(entry.number);
        }
        audit::decide(self.site.database, self.run, &replayed, Outcome::Replayed).await?;
        audit::decide(self.site.database, self.run, &returned, Outcome::Returned).await?;
        for ((entry, position, delivery), taken) in window.iter().zip(taken) {
            if taken {
                reader.take(*position, delivery).await?;
                self.done.replayed += 1;
                self.tell(entry, Outcome::Replayed);
            } else {
                self.done.returned += 1;
                self.tell(entry, Outcome::Returned);
            }
        }
        Ok(())
    }

    /// Waits until so many more are allowed.
    async fn pace(&mut self, more: usize) {
        if let Some(rate) = self.speed.rate.filter(|rate| *rate > 0) {
            let due = Duration::from_secs(1) * self.published / rate;
            tokio::time::sleep_until((self.began + due).into()).await;
        }
        self.published = self
            .published
            .saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
    }
}

/// The message that goes back: id, properties and body as they were unless somebody
/// changed them, one more round, and attempts counted anew.
fn outgoing(
    queue: &str,
    delivery: &Delivery,
    to_exchange: bool,
    edited: Option<&Edited>,
) -> Outgoing {
    let properties = &delivery.properties;
    let mut table = FieldTable::default();
    let old = properties.headers().clone().unwrap_or_default();
    for (name, value) in old.inner() {
        // The broker writes it, and takes it from nobody.
        if name.as_str() != headers::ATTEMPTS && name.as_str() != "x-death" {
            table.insert(name.clone(), value.clone());
        }
    }
    let rounds = number(&old, headers::REPLAYS)
        .unwrap_or_default()
        .saturating_add(1);
    let rounds = i32::try_from(rounds).unwrap_or(i32::MAX);
    table.insert(headers::REPLAYS.into(), AMQPValue::LongInt(rounds));
    let letter = DeadLetter::read(queue, 0, properties, &delivery.data);
    let (exchange, routing_key) = match letter.routing_key {
        Some(key) if to_exchange => (topology::EVENTS.to_owned(), key),
        // The default exchange takes a queue's name for a key.
        _ => (String::new(), queue.to_owned()),
    };
    let mut properties = persistent(properties.clone());
    if let Some(edited) = edited {
        let original = letter.id.unwrap_or_default();
        table.insert(
            headers::EDITED.into(),
            AMQPValue::LongString(original.into()),
        );
        properties = properties.with_message_id(edited.id.as_str().into());
    }
    Outgoing {
        exchange,
        routing_key,
        mandatory: true,
        properties: properties.with_headers(table),
        body: edited.map_or_else(
            || delivery.data.clone(),
            |edited| edited.body.clone().into_bytes(),
        ),
    }
}

fn persistent(properties: BasicProperties) -> BasicProperties {
    const PERSISTENT: u8 = 2;
    // Without an id a return could not be told from another one.
    let id = properties.message_id().clone();
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string().into());
    properties
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id)
}

#[cfg(test)]
mod tests {
    use dm_contracts::time;

    use super::*;

    fn letter(replays: u64, failed_at: &str) -> DeadLetter {
        let mut letter = DeadLetter::read("q", 1, &BasicProperties::default(), b"");
        letter.replays = replays;
        letter.failed_at = time::parse(failed_at);
        letter
    }

    #[test]
    fn what_went_round_too_often_or_is_too_old_stays() {
        let request = Request {
            queues: Vec::new(),
            filter: Filter::default(),
            limit: None,
            to_exchange: false,
            most_rounds: 3,
            memory: [("q".to_owned(), Duration::from_secs(3600))].into(),
        };
        let now = time::parse("2026-02-03T12:00:00Z").unwrap();
        for (replays, failed_at, refusal) in [
            (0, "2026-02-03T11:30:00Z", None),
            (2, "2026-02-03T11:00:00Z", None),
            (3, "2026-02-03T11:30:00Z", Some(Refusal::Rounds)),
            (0, "2026-02-03T10:59:59Z", Some(Refusal::Age)),
            // A clock that is ahead makes nothing old.
            (0, "2026-02-03T13:00:00Z", None),
            (0, "never", None),
        ] {
            assert_eq!(request.refuses(&letter(replays, failed_at), now), refusal);
        }
        let elsewhere = DeadLetter {
            queue: "other".into(),
            ..letter(0, "2020-01-01T00:00:00Z")
        };
        assert_eq!(request.refuses(&elsewhere, now), None, "it has no inbox");
    }

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

    #[test]
    fn another_set_has_another_digest() {
        let (mut one, mut other) = (letter(0, ""), letter(0, ""));
        one.fingerprint = "a".into();
        other.fingerprint = "b".into();
        let both = [one.clone(), other.clone()];
        assert_eq!(digest(&both), digest(&both));
        assert_ne!(digest(&both), digest(&[other, one.clone()]));
        assert_ne!(digest(&both), digest(&[one]));
        assert_eq!(digest(&[]).len(), 12);
    }
}
