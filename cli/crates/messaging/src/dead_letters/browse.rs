//! What there is, without a trace of having looked.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dm_amqp::PublishTarget;
use dm_contracts::topology::dead_letter_queue;
use lapin::{BasicProperties, Connection};
use serde::Serialize;
use serde_json::value::RawValue;

pub use super::group::DeadLetterGroup;
use super::json_line::JsonProperties;
use super::letter_reader::{UnackedLetter, visit_unacked};
use super::{DeadLetter, DeadLetterFilter, FailureRecords, header_json, json_text};
use crate::{MessagingError, queues};

/// A dead letter with everything that is in it.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterDetail {
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
    pub body_text: String,
}

/// Goes over the dead letters of these queues. Nothing changes by that.
///
/// # Errors
/// The broker is away, or stops in the middle.
pub async fn for_each_letter(
    connection: &Connection,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
    mut on_letter: impl FnMut(DeadLetter),
) -> Result<(), MessagingError> {
    visit_unacked(connection, queues, |UnackedLetter { letter, .. }| {
        if filter.matches(&letter) {
            on_letter(letter);
        }
        Ok(None)
    })
    .await
}

/// As [`each`], where every id that the filter names has to be that of a letter.
///
/// # Errors
/// [`MessagingError::NotFound`] with an id that no letter has, or as [`each`].
pub async fn for_each_requested(
    connection: &Connection,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
    mut on_letter: impl FnMut(DeadLetter),
) -> Result<(), MessagingError> {
    let mut named = RequestedIds::from_filter(filter);
    for_each_letter(connection, queues, filter, |letter| {
        named.mark_found(&letter);
        on_letter(letter);
    })
    .await?;
    named.ensure_all_found()
}

/// The ids that were asked for, and that no letter had so far.
pub(super) struct RequestedIds<'f>(HashSet<&'f str>);

impl<'f> RequestedIds<'f> {
    pub(super) fn from_filter(filter: &'f DeadLetterFilter) -> Self {
        Self(filter.ids.iter().map(String::as_str).collect())
    }

    pub(super) fn mark_found(&mut self, letter: &DeadLetter) {
        if !self.0.is_empty() {
            self.0.remove(letter.fingerprint.as_str());
            self.0.remove(letter.id.as_deref().unwrap_or_default());
        }
    }

    pub(super) fn ensure_all_found(self) -> Result<(), MessagingError> {
        match self.0.into_iter().min() {
            Some(id) => Err(MessagingError::DeadLetterNotFound(id.to_owned())),
            None => Ok(()),
        }
    }
}

/// How many there are of each kind: by queue, and the largest group first.
///
/// # Errors
/// As [`each`].
pub async fn group_letters(
    connection: &Connection,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterGroup>, MessagingError> {
    let mut groups = GroupBuilder::default();
    for_each_letter(connection, queues, filter, |letter| groups.add(&letter)).await?;
    Ok(sort_groups(groups.0.into_values().collect()))
}

/// What there is of each kind, and which queues were read for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterListing {
    /// The groups.
    pub groups: Vec<DeadLetterGroup>,
    /// The queues whose records did not say what is in them.
    pub read: Vec<ScannedQueue>,
}

/// A queue that had to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScannedQueue {
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
pub async fn list_groups(
    connection: &Connection,
    records: Option<&FailureRecords<'_>>,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
) -> Result<DeadLetterListing, MessagingError> {
    let mut listing = DeadLetterListing::default();
    let channel = connection.create_channel().await?;
    for &queue in queues {
        let depth = u64::from(queues::ready_count(&channel, &dead_letter_queue(queue)).await?);
        if depth == 0 && records.is_none() {
            continue;
        }
        let recorded = match records {
            Some(records) => records.count_open(queue).await?,
            None => None,
        };
        let agree = depth == recorded.unwrap_or_default().unsigned_abs();
        if let (Some(records), true) = (records, agree) {
            listing
                .groups
                .extend(records.group_open(queue, filter).await?);
            continue;
        }
        let mut books = match records {
            Some(records) => Some(records.take_snapshot(queue).await?),
            None => None,
        };
        let mut groups = GroupBuilder::default();
        for_each_letter(
            connection,
            &[queue],
            &DeadLetterFilter::default(),
            |letter| {
                if filter.matches(&letter) {
                    groups.add(&letter);
                }
                if let Some(books) = &mut books {
                    books.observe(letter);
                }
            },
        )
        .await?;
        if let (Some(records), Some(books)) = (records, books) {
            records.correct_records(queue, books).await?;
        }
        listing.groups.extend(groups.0.into_values());
        listing.read.push(ScannedQueue {
            queue: queue.to_owned(),
            letters: depth,
            recorded,
        });
    }
    listing.groups = sort_groups(listing.groups);
    Ok(listing)
}

/// Letters by queue, reason and type.
#[derive(Default)]
struct GroupBuilder(BTreeMap<(String, String, Option<String>), DeadLetterGroup>);

impl GroupBuilder {
    fn add(&mut self, letter: &DeadLetter) {
        let key = (
            letter.queue.clone(),
            letter.reason.clone(),
            letter.event_type.clone(),
        );
        let group = self.0.entry(key).or_insert_with(|| DeadLetterGroup {
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

fn sort_groups(mut groups: Vec<DeadLetterGroup>) -> Vec<DeadLetterGroup> {
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
pub async fn find_details(
    connection: &Connection,
    queues: &[&'static str],
    id: &str,
) -> Result<Vec<DeadLetterDetail>, MessagingError> {
    let mut found = Vec::new();
    visit_unacked(connection, queues, |seen| {
        let letter = &seen.letter;
        if letter.id.as_deref() == Some(id) || letter.fingerprint == id {
            found.push(to_detail(seen)?);
        }
        Ok(None)
    })
    .await?;
    if found.is_empty() {
        return Err(MessagingError::DeadLetterNotFound(id.to_owned()));
    }
    Ok(found)
}

fn to_detail(found: UnackedLetter) -> Result<DeadLetterDetail, MessagingError> {
    let original = found.original();
    let PublishTarget { exchange, .. } = original.target;
    let bytes = &found.delivery.data;
    let (body, shown) = match serde_json::from_slice::<Box<RawValue>>(bytes) {
        Ok(body) => {
            let shown = json_text::pretty_print(&body);
            (body, shown)
        }
        Err(_) => {
            let shown = String::from_utf8_lossy(bytes).into_owned();
            let body = serde_json::value::to_raw_value(&shown).map_err(std::io::Error::from)?;
            (body, shown)
        }
    };
    Ok(DeadLetterDetail {
        exchange,
        properties: JsonProperties::display_map(&original.properties),
        headers: display_headers(&original.properties),
        body,
        body_base64: std::str::from_utf8(bytes)
            .is_err()
            .then(|| STANDARD.encode(bytes)),
        body_text: shown,
        letter: found.letter,
    })
}

fn display_headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let table = properties.headers().as_ref();
    let entries = table.into_iter().flat_map(|table| table.inner());
    entries
        .map(|(name, value)| (name.to_string(), header_json::display_value(value)))
        .collect()
}
