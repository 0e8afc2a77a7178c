//! What there is, without a trace of having looked.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dm_amqp::Place;
use dm_contracts::topology::dead_letter_queue;
use lapin::{BasicProperties, Connection};
use serde::Serialize;
use serde_json::value::RawValue;

pub use super::group::Group;
use super::line::Properties;
use super::pass::{Found, browse};
use super::{DeadLetter, Filter, Records, header, text};
use crate::{MessagingError, queues};

/// A dead letter with everything that is in it.
#[derive(Debug, Clone, Serialize)]
pub struct Whole {
    /// What is known of it.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The exchange that it came by into the dead-letter queue.
    pub exchange: String,
    /// Its properties as text.
    pub properties: BTreeMap<&'static str, String>,
    /// Its headers as text.
    pub headers: BTreeMap<String, String>,
    /// Its body, digit for digit where that is JSON; otherwise a text of it.
    pub body: Box<RawValue>,
    /// Its body in base64, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Its body, for a person: in lines where it is JSON.
    #[serde(skip)]
    pub shown: String,
}

/// Goes over the dead letters of these queues. Nothing changes by that.
///
/// # Errors
/// The broker is away, or stops in the middle.
pub async fn each(
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
    mut found: impl FnMut(DeadLetter),
) -> Result<(), MessagingError> {
    browse(connection, queues, |Found { letter, .. }| {
        if filter.takes(&letter) {
            found(letter);
        }
        Ok(None)
    })
    .await
}

/// As [`each`], where every id that the filter names has to be that of a letter.
///
/// # Errors
/// [`MessagingError::NotFound`] with an id that no letter has, or as [`each`].
pub async fn chosen(
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
    mut found: impl FnMut(DeadLetter),
) -> Result<(), MessagingError> {
    let mut named = Named::of(filter);
    each(connection, queues, filter, |letter| {
        named.met(&letter);
        found(letter);
    })
    .await?;
    named.check()
}

/// The ids that were asked for, and that no letter had so far.
pub(super) struct Named<'f>(HashSet<&'f str>);

impl<'f> Named<'f> {
    pub(super) fn of(filter: &'f Filter) -> Self {
        Self(filter.ids.iter().map(String::as_str).collect())
    }

    pub(super) fn met(&mut self, letter: &DeadLetter) {
        if !self.0.is_empty() {
            self.0.remove(letter.fingerprint.as_str());
            self.0.remove(letter.id.as_deref().unwrap_or_default());
        }
    }

    pub(super) fn check(self) -> Result<(), MessagingError> {
        match self.0.into_iter().min() {
            Some(id) => Err(MessagingError::NotFound(id.to_owned())),
            None => Ok(()),
        }
    }
}

/// How many there are of each kind: by queue, and the largest group first.
///
/// # Errors
/// As [`each`].
pub async fn groups(
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<Vec<Group>, MessagingError> {
    let mut groups = Grouping::default();
    each(connection, queues, filter, |letter| groups.add(&letter)).await?;
    Ok(sorted(groups.0.into_values().collect()))
}

/// What there is of each kind, and which queues were read for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The groups.
    pub groups: Vec<Group>,
    /// The queues whose records did not say what is in them.
    pub read: Vec<Reading>,
}

/// A queue that had to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The work queue.
    pub queue: String,
    /// How many letters its dead-letter queue holds.
    pub letters: u64,
    /// How many its consumer has records of; nothing where it has no consumer, or the
    /// records are away.
    pub recorded: Option<i64>,
}

/// How many there are of each kind, from the records where there are as many of these as
/// the queue holds; otherwise the queue is read, and its records say then what is in it.
///
/// # Errors
/// As [`each`].
pub async fn listing(
    connection: &Connection,
    records: Option<&Records<'_>>,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<Listing, MessagingError> {
    let mut listing = Listing::default();
    let channel = connection.create_channel().await?;
    for &queue in queues {
        let depth = u64::from(queues::ready(&channel, &dead_letter_queue(queue)).await?);
        if depth == 0 && records.is_none() {
            continue;
        }
        let recorded = match records {
            Some(records) => records.count(queue).await?,
            None => None,
        };
        let agree = depth == recorded.unwrap_or_default().unsigned_abs();
        if let (Some(records), true) = (records, agree) {
            listing.groups.extend(records.groups(queue, filter).await?);
            continue;
        }
        let mut books = match records {
            Some(records) => Some(records.books(queue).await?),
            None => None,
        };
        let mut groups = Grouping::default();
        each(connection, &[queue], &Filter::default(), |letter| {
            if filter.takes(&letter) {
                groups.add(&letter);
            }
            if let Some(books) = &mut books {
                books.met(letter);
            }
        })
        .await?;
        if let (Some(records), Some(books)) = (records, books) {
            records.follow(queue, books).await?;
        }
        listing.groups.extend(groups.0.into_values());
        listing.read.push(Reading {
            queue: queue.to_owned(),
            letters: depth,
            recorded,
        });
    }
    listing.groups = sorted(listing.groups);
    Ok(listing)
}

/// Letters by queue, reason and type.
#[derive(Default)]
struct Grouping(BTreeMap<(String, String, Option<String>), Group>);

impl Grouping {
    fn add(&mut self, letter: &DeadLetter) {
        let key = (
            letter.queue.clone(),
            letter.reason.clone(),
            letter.event_type.clone(),
        );
        let group = self.0.entry(key).or_insert_with(|| Group {
            queue: letter.queue.clone(),
            reason: letter.reason.clone(),
            event_type: letter.event_type.clone(),
            count: 0,
            oldest: None,
            latest: None,
        });
        group.count += 1;
        if let Some(at) = letter.failed_at {
            group.oldest = Some(group.oldest.map_or(at, |oldest| oldest.min(at)));
            group.latest = Some(group.latest.map_or(at, |latest| latest.max(at)));
        }
    }
}

fn sorted(mut groups: Vec<Group>) -> Vec<Group> {
    groups.sort_by(|one, other| {
        (&one.queue, other.count, &one.reason, &one.event_type).cmp(&(
            &other.queue,
            one.count,
            &other.reason,
            &other.event_type,
        ))
    });
    groups
}

/// The dead letters of an event, whole: there may be one in each queue, or several.
///
/// # Errors
/// [`MessagingError::NotFound`], or as [`each`].
pub async fn show(
    connection: &Connection,
    queues: &[&'static str],
    id: &str,
) -> Result<Vec<Whole>, MessagingError> {
    let mut found = Vec::new();
    browse(connection, queues, |seen| {
        let letter = &seen.letter;
        if letter.id.as_deref() == Some(id) || letter.fingerprint == id {
            found.push(whole(seen)?);
        }
        Ok(None)
    })
    .await?;
    if found.is_empty() {
        return Err(MessagingError::NotFound(id.to_owned()));
    }
    Ok(found)
}

fn whole(found: Found) -> Result<Whole, MessagingError> {
    let original = found.original();
    let Place { exchange, .. } = original.place;
    let bytes = &found.delivery.data;
    let (body, shown) = match serde_json::from_slice::<Box<RawValue>>(bytes) {
        Ok(body) => {
            let shown = text::in_lines(&body);
            (body, shown)
        }
        Err(_) => {
            let shown = String::from_utf8_lossy(bytes).into_owned();
            let body = serde_json::value::to_raw_value(&shown).map_err(std::io::Error::from)?;
            (body, shown)
        }
    };
    Ok(Whole {
        exchange,
        properties: Properties::shown(&original.properties),
        headers: headers(&original.properties),
        body,
        body_base64: std::str::from_utf8(bytes)
            .is_err()
            .then(|| STANDARD.encode(bytes)),
        shown,
        letter: found.letter,
    })
}

fn headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let table = properties.headers().as_ref();
    let entries = table.into_iter().flat_map(|table| table.inner());
    entries
        .map(|(name, value)| (name.to_string(), header::shown(value)))
        .collect()
}
