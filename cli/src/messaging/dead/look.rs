//! What there is, without a trace of having looked.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dm_contracts::topology::dead_letter_queue;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Connection};
use serde::Serialize;
use serde_json::Value;

use super::{DeadLetter, Filter};
use crate::messaging::MessagingError;
use crate::messaging::reader::Reader;

/// Dead letters that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The work queue that they failed in.
    pub queue: String,
    /// Why.
    pub reason: String,
    /// Their type.
    pub event_type: Option<String>,
    /// How many.
    pub count: u64,
    /// When the oldest of them failed.
    pub oldest: Option<DateTime<Utc>>,
    /// When the latest of them failed.
    pub latest: Option<DateTime<Utc>>,
}

/// A dead letter with everything that is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Whole {
    /// What is known of it.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// Its headers as text.
    pub headers: BTreeMap<String, String>,
    /// Its body, where that is JSON; otherwise a text of it.
    pub body: Value,
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
    for &queue in queues {
        let mut reader = Reader::open(connection, &dead_letter_queue(queue)).await?;
        while let Some((position, delivery)) = reader.next().await? {
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            if filter.takes(&letter) {
                found(letter);
            }
        }
        reader.close().await?;
    }
    Ok(())
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
    let mut groups: BTreeMap<(String, String, Option<String>), Group> = BTreeMap::new();
    each(connection, queues, filter, |letter| {
        let key = (
            letter.queue.clone(),
            letter.reason.clone(),
            letter.event_type.clone(),
        );
        let group = groups.entry(key).or_insert_with(|| Group {
            queue: letter.queue,
            reason: letter.reason,
            event_type: letter.event_type,
            count: 0,
            oldest: None,
            latest: None,
        });
        group.count += 1;
        if let Some(at) = letter.failed_at {
            group.oldest = Some(group.oldest.map_or(at, |oldest| oldest.min(at)));
            group.latest = Some(group.latest.map_or(at, |latest| latest.max(at)));
        }
    })
    .await?;
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|one, other| {
        (&one.queue, other.count, &one.reason).cmp(&(&other.queue, one.count, &other.reason))
    });
    Ok(groups)
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
    for &queue in queues {
        let mut reader = Reader::open(connection, &dead_letter_queue(queue)).await?;
        while let Some((position, delivery)) = reader.next().await? {
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            if letter.id.as_deref() == Some(id) || letter.fingerprint == id {
                found.push(Whole {
                    headers: headers(&delivery.properties),
                    body: body(&delivery.data),
                    letter,
                });
            }
        }
        reader.close().await?;
    }
    if found.is_empty() {
        return Err(MessagingError::NotFound(id.to_owned()));
    }
    Ok(found)
}

fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let table = properties.headers().as_ref();
    let entries = table.into_iter().flat_map(|table| table.inner());
    entries
        .map(|(name, value)| (name.to_string(), shown(value)))
        .collect()
}

fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Boolean(truth) => truth.to_string(),
        other => format!("{other:?}"),
    }
}
