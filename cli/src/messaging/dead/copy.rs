//! Dead letters as a file: JSON lines, a letter each.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dm_contracts::topology::dead_letter_queue;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection};
use serde::{Deserialize, Serialize};

use super::letter::Death;
use super::{DeadLetter, Filter};
use crate::messaging::MessagingError;
use crate::messaging::broker::{Outgoing, publish};
use crate::messaging::reader::Reader;

/// How many letters of a file are put back at a time.
const PORTION: usize = 500;

/// A letter as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The work queue that it failed in.
    pub queue: String,
    /// Its message id.
    pub message_id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What its body is.
    pub content_type: Option<String>,
    /// Its headers. What the broker wrote of its death is among them as ours.
    pub headers: BTreeMap<String, Header>,
    /// Its body, in base64.
    pub body: String,
}

/// What headers of ours are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Header {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Truth(bool),
}

impl Header {
    fn of(value: &AMQPValue) -> Option<Self> {
        Some(match value {
            AMQPValue::LongString(text) => Self::Text(text.to_string()),
            AMQPValue::ShortString(text) => Self::Text(text.to_string()),
            AMQPValue::ShortShortInt(number) => Self::Number((*number).into()),
            AMQPValue::ShortInt(number) => Self::Number((*number).into()),
            AMQPValue::LongInt(number) => Self::Number((*number).into()),
            AMQPValue::LongLongInt(number) => Self::Number(*number),
            AMQPValue::Boolean(truth) => Self::Truth(*truth),
            _ => return None,
        })
    }

    fn value(&self) -> AMQPValue {
        match self {
            Self::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Self::Number(number) => AMQPValue::LongLongInt(*number),
            Self::Truth(truth) => AMQPValue::Boolean(*truth),
        }
    }
}

fn headers_of(table: &FieldTable) -> BTreeMap<String, Header> {
    let own = table.inner().iter();
    let mut headers: BTreeMap<String, Header> = own
        .filter_map(|(name, value)| Some((name.to_string(), Header::of(value)?)))
        .collect();
    if let Some(death) = Death::latest(table) {
        for (name, value) in death.as_headers() {
            headers
                .entry(name.to_owned())
                .or_insert(Header::Text(value));
        }
    }
    headers
}

impl Line {
    pub(super) fn of(queue: &str, properties: &BasicProperties, body: &[u8]) -> Self {
        let text =
            |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
        let table = properties.headers().as_ref();
        Self {
            queue: queue.to_owned(),
            message_id: text(properties.message_id()),
            kind: text(properties.kind()),
            content_type: text(properties.content_type()),
            headers: table.map(headers_of).unwrap_or_default(),
            body: STANDARD.encode(body),
        }
    }

    fn message(&self) -> Option<Outgoing> {
        let mut table = FieldTable::default();
        for (name, header) in &self.headers {
            table.insert(name.as_str().into(), header.value());
        }
        let mut properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_headers(table);
        if let Some(id) = &self.message_id {
            properties = properties.with_message_id(id.as_str().into());
        }
        if let Some(kind) = &self.kind {
            properties = properties.with_type(kind.as_str().into());
        }
        if let Some(content_type) = &self.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        Some(Outgoing {
            exchange: String::new(),
            routing_key: dead_letter_queue(&self.queue),
            mandatory: true,
            properties,
            body: STANDARD.decode(&self.body).ok()?,
        })
    }
}

/// Writes the dead letters of these queues. Nothing changes by that. Answers which
/// letters these are.
///
/// # Errors
/// The broker is away, or the file can't be written.
pub async fn export(
    connection: &Connection,
    queues: &[&'static str],
    filter: &Filter,
    mut to: impl Write,
) -> Result<HashSet<String>, MessagingError> {
    let mut written = HashSet::new();
    for &queue in queues {
        let mut reader = Reader::open(connection, &dead_letter_queue(queue)).await?;
        while let Some((position, delivery)) = reader.next().await? {
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            if !filter.takes(&letter) {
                continue;
            }
            let line = Line::of(queue, &delivery.properties, &delivery.data);
            serde_json::to_writer(&mut to, &line).map_err(std::io::Error::from)?;
            to.write_all(b"\n")?;
            written.insert(letter.fingerprint);
        }
        reader.close().await?;
    }
    to.flush()?;
    Ok(written)
}

/// Removes letters, of which somebody has a copy. Answers how many.
///
/// # Errors
/// The broker is away: some of them may be gone.
pub async fn remove(
    connection: &Connection,
    queues: &[&'static str],
    letters: &HashSet<String>,
) -> Result<u64, MessagingError> {
    let mut removed = 0;
    for &queue in queues {
        let mut reader = Reader::open(connection, &dead_letter_queue(queue)).await?;
        while let Some((position, delivery)) = reader.next().await? {
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            if letters.contains(&letter.fingerprint) {
                reader.take(position, &delivery).await?;
                removed += 1;
            }
        }
        reader.close().await?;
    }
    Ok(removed)
}

/// Reads a file whole, before anything of it is put anywhere.
///
/// # Errors
/// [`MessagingError::Line`] with the first line that is none.
pub fn parse(from: impl BufRead) -> Result<Vec<Line>, MessagingError> {
    let mut lines = Vec::new();
    for (at, text) in from.lines().enumerate() {
        let text = text?;
        if text.trim().is_empty() {
            continue;
        }
        let refuse = |what: String| MessagingError::Line { line: at + 1, what };
        let line: Line = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        super::queues(std::slice::from_ref(&line.queue))
            .map_err(|error| refuse(error.to_string()))?;
        if line.message().is_none() {
            return Err(refuse("the body is no base64".into()));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// What became of letters that were to be put back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many are there now.
    pub there: u64,
    /// How many were there before, and came no second time.
    pub before: u64,
    /// How many the broker had no queue for.
    pub refused: u64,
}

/// Puts letters back among the dead, without those that are there.
///
/// # Errors
/// The broker is away: some of them may be there.
pub async fn import(connection: &Connection, lines: &[Line]) -> Result<Imported, MessagingError> {
    let mut queues: Vec<&str> = lines.iter().map(|line| line.queue.as_str()).collect();
    queues.sort_unstable();
    queues.dedup();
    let mut known: HashSet<(String, String)> = HashSet::new();
    for queue in super::queues(&queues.into_iter().map(str::to_owned).collect::<Vec<_>>())? {
        let mut reader = Reader::open(connection, &dead_letter_queue(queue)).await?;
        while let Some((position, delivery)) = reader.next().await? {
            let letter = DeadLetter::read(queue, position, &delivery.properties, &delivery.data);
            known.insert((letter.queue, letter.fingerprint));
        }
        reader.close().await?;
    }
    let (mut imported, mut new) = (Imported::default(), Vec::new());
    for line in lines {
        let Some(message) = line.message() else {
            continue;
        };
        let letter = DeadLetter::read(&line.queue, 0, &message.properties, &message.body);
        if known.insert((letter.queue, letter.fingerprint)) {
            new.push(message);
        } else {
            imported.before += 1;
        }
    }
    let channel = connection.create_channel().await?;
    for portion in new.chunks(PORTION) {
        for taken in publish(&channel, portion).await? {
            if taken {
                imported.there += 1;
            } else {
                imported.refused += 1;
            }
        }
    }
    Ok(imported)
}

#[cfg(test)]
mod tests {
    use dm_contracts::headers;
    use dm_contracts::topology::INVENTORY_QUEUE;

    use super::*;

    #[test]
    fn a_letter_survives_the_file() {
        let mut table = FieldTable::default();
        table.insert(
            headers::REASON.into(),
            AMQPValue::LongString("invalid-data".into()),
        );
        table.insert(headers::ATTEMPTS.into(), AMQPValue::LongInt(9));
        table.insert("x-death".into(), AMQPValue::FieldArray(vec![].into()));
        let properties = BasicProperties::default()
            .with_message_id("evt_1".into())
            .with_type("t".into())
            .with_headers(table);
        let line = Line::of(INVENTORY_QUEUE, &properties, b"\xff\x00{");
        let text = serde_json::to_string(&line).unwrap();
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(read, [line]);
        let message = read[0].message().unwrap();
        assert_eq!(message.body, b"\xff\x00{");
        assert_eq!(message.routing_key, "inventory.order-events.q.dlq");
        let one = |properties| DeadLetter::read("q", 1, properties, &message.body);
        let (before, after) = (one(&properties), one(&message.properties));
        assert_eq!(before, after, "the same letter, by its fingerprint, too");
    }

    #[test]
    fn what_the_broker_said_survives_it_too() {
        let mut death = FieldTable::default();
        death.insert(
            "reason".into(),
            AMQPValue::LongString("delivery_limit".into()),
        );
        death.insert("time".into(), AMQPValue::Timestamp(1_770_000_000));
        let deaths = AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into());
        let mut table = FieldTable::default();
        table.insert("x-death".into(), deaths);
        let properties = BasicProperties::default().with_headers(table);
        let message = Line::of(INVENTORY_QUEUE, &properties, b"{}")
            .message()
            .unwrap();
        let one = |properties| DeadLetter::read(INVENTORY_QUEUE, 1, properties, b"{}");
        assert_eq!(one(&properties).reason, "delivery-limit");
        assert_eq!(one(&properties), one(&message.properties));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let good = r#"{"queue":"inventory.order-events.q","headers":{},"body":"e30="}"#;
        for bad in [
            "{",
            r#"{"queue":"nobody.q","headers":{},"body":""}"#,
            r#"{"queue":"inventory.order-events.q","headers":{},"body":"*"}"#,
        ] {
            let error = parse(format!("{good}\n\n{bad}").as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("line 3"), "{error}");
        }
    }
}
