//! Lists dead letters. Removes only copies of a letter.

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

/// A dead letter with its complete content.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterDetail {
    /// The parsed letter.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The exchange that routed it to the dead-letter queue.
    pub exchange: String,
    /// The properties as text.
    pub properties: BTreeMap<&'static str, String>,
    /// The headers as text.
    pub headers: BTreeMap<String, String>,
    /// The body: unchanged if it is JSON, otherwise as a JSON string.
    pub body: Box<RawValue>,
    /// The body in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The body for display: pretty-printed if it is JSON.
    #[serde(skip)]
    pub body_text: String,
}

/// Calls `on_letter` for each dead letter of these queues that matches the filter. Removes only
/// copies of a letter.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached or stops delivering.
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

/// Like [`for_each_letter`], but requires a letter for every id in the filter.
///
/// # Errors
/// Returns [`MessagingError::DeadLetterNotFound`] if an id has no letter; otherwise like
/// [`for_each_letter`].
pub async fn for_each_requested(
    connection: &Connection,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
    mut on_letter: impl FnMut(DeadLetter),
) -> Result<(), MessagingError> {
    let mut requested = RequestedIds::from_filter(filter);
    for_each_letter(connection, queues, filter, |letter| {
        requested.mark_found(&letter);
        on_letter(letter);
    })
    .await?;
    requested.ensure_all_found()
}

/// The requested ids for which no letter was found yet.
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

/// Groups the dead letters, ordered by queue and with the largest group first.
///
/// # Errors
/// Like [`for_each_letter`].
pub async fn group_letters(
    connection: &Connection,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterGroup>, MessagingError> {
    let mut groups = GroupBuilder::default();
    for_each_letter(connection, queues, filter, |letter| groups.add(&letter)).await?;
    Ok(sort_groups(groups.0.into_values().collect()))
}

/// The groups of dead letters, and the queues that were read for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterListing {
    /// The groups.
    pub groups: Vec<DeadLetterGroup>,
    /// The queues that were read because their records were incomplete.
    pub scanned_queues: Vec<ScannedQueue>,
}

/// A queue that was read because its records were incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScannedQueue {
    /// The work queue.
    pub queue: String,
    /// The number of messages in its dead-letter queue.
    pub message_count: u64,
    /// The number of records of its consumer. `None` if it has no consumer, or the records cannot
    /// be read.
    pub recorded: Option<i64>,
}

/// Groups the dead letters from the records of a queue if their number equals the depth of the
/// queue. Otherwise reads the queue, and corrects its records.
///
/// # Errors
/// Like [`for_each_letter`].
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
        let is_consistent = depth == recorded.unwrap_or_default().unsigned_abs();
        if let (Some(records), true) = (records, is_consistent) {
            listing
                .groups
                .extend(records.group_open(queue, filter).await?);
            continue;
        }
        let mut snapshot = match records {
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
                if let Some(snapshot) = &mut snapshot {
                    snapshot.observe(letter);
                }
            },
        )
        .await?;
        if let (Some(records), Some(snapshot)) = (records, snapshot) {
            records.correct_records(queue, snapshot).await?;
        }
        listing.groups.extend(groups.0.into_values());
        listing.scanned_queues.push(ScannedQueue {
            queue: queue.to_owned(),
            message_count: depth,
            recorded,
        });
    }
    listing.groups = sort_groups(listing.groups);
    Ok(listing)
}

/// Groups of letters by queue, reason and type.
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

/// Returns the dead letters of an event with their content. Each queue may have several.
///
/// # Errors
/// Returns [`MessagingError::DeadLetterNotFound`] if there is none; otherwise like
/// [`for_each_letter`].
pub async fn find_details(
    connection: &Connection,
    queues: &[&'static str],
    id: &str,
) -> Result<Vec<DeadLetterDetail>, MessagingError> {
    let mut details = Vec::new();
    visit_unacked(connection, queues, |unacked| {
        let letter = &unacked.letter;
        if letter.id.as_deref() == Some(id) || letter.fingerprint == id {
            details.push(to_detail(unacked)?);
        }
        Ok(None)
    })
    .await?;
    if details.is_empty() {
        return Err(MessagingError::DeadLetterNotFound(id.to_owned()));
    }
    Ok(details)
}

fn to_detail(unacked: UnackedLetter) -> Result<DeadLetterDetail, MessagingError> {
    let original = unacked.original();
    let PublishTarget { exchange, .. } = original.target;
    let bytes = &unacked.delivery.data;
    let (body, body_text) = match serde_json::from_slice::<Box<RawValue>>(bytes) {
        Ok(body) => {
            let body_text = json_text::pretty_print(&body);
            (body, body_text)
        }
        Err(_) => {
            let body_text = String::from_utf8_lossy(bytes).into_owned();
            let body = serde_json::value::to_raw_value(&body_text).map_err(std::io::Error::from)?;
            (body, body_text)
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
        body_text,
        letter: unacked.letter,
    })
}

fn display_headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let table = properties.headers().as_ref();
    let entries = table.into_iter().flat_map(|table| table.inner());
    entries
        .map(|(name, value)| (name.to_string(), header_json::display_value(value)))
        .collect()
}
