//! Export of dead letters to a file of JSON lines, and import.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Write};

use lapin::Connection;

use super::json_line::DeadLetterLine;
use super::letter_reader::visit_unacked;
use super::{DeadLetter, DeadLetterFilter};
use crate::MessagingError;
use crate::broker::{OutgoingMessage, publish_and_confirm};

/// The maximum number of letters per batch, and the maximum number of bytes.
const MAX_BATCH: (usize, usize) = (500, 16 * 1024 * 1024);

/// The numbers of letters by queue and fingerprint. Letters without a record can have equal
/// fingerprints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterCounts {
    by_queue: HashMap<String, HashMap<String, u64>>,
    total: u64,
}

impl LetterCounts {
    /// Adds a letter.
    pub(super) fn add(&mut self, letter: &DeadLetter) {
        let counts = self.by_queue.entry(letter.queue.clone()).or_default();
        *counts.entry(letter.fingerprint.clone()).or_default() += 1;
        self.total += 1;
    }

    /// Removes one letter. Returns `false` if there is none with this fingerprint.
    fn take(&mut self, letter: &DeadLetter) -> bool {
        let counts = self.by_queue.get_mut(&letter.queue);
        match counts.and_then(|counts| counts.get_mut(&letter.fingerprint)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                self.total -= 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the total number of letters.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

/// Writes the dead letters of these queues to `writer`. Removes only copies of a letter from the
/// queues. Returns the counts of the written letters.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached, or the file cannot be written.
pub async fn export(
    connection: &Connection,
    queues: &[&'static str],
    filter: &DeadLetterFilter,
    mut writer: impl Write,
) -> Result<LetterCounts, MessagingError> {
    let mut written = LetterCounts::default();
    visit_unacked(connection, queues, |unacked| {
        if filter.matches(&unacked.letter) {
            let queue = &unacked.letter.queue;
            let line =
                DeadLetterLine::from_original(queue, &unacked.original(), &unacked.delivery.data);
            serde_json::to_writer(&mut writer, &line).map_err(std::io::Error::from)?;
            writer.write_all(b"\n")?;
            written.add(&unacked.letter);
        }
        Ok(None)
    })
    .await?;
    writer.flush()?;
    Ok(written)
}

/// Removes letters that were copied: of letters with equal fingerprints, as many as were copied.
/// Returns the removed letters.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached. Some letters may be removed.
pub async fn remove(
    connection: &Connection,
    queues: &[&'static str],
    mut letters: LetterCounts,
) -> Result<Vec<DeadLetter>, MessagingError> {
    let mut removed = Vec::new();
    visit_unacked(connection, queues, |unacked| {
        let is_copied = letters.take(&unacked.letter);
        if is_copied {
            removed.push(unacked.letter.clone());
        }
        Ok(is_copied.then_some(unacked))
    })
    .await?;
    Ok(removed)
}

/// The parsed lines of a file.
#[derive(Debug, Default)]
pub struct ParsedLines {
    /// The letters.
    pub lines: Vec<DeadLetterLine>,
    /// The errors of the malformed lines.
    pub malformed: Vec<MessagingError>,
}

/// Reads all lines of a file. Malformed lines are collected and do not affect other lines.
///
/// # Errors
/// Returns [`std::io::Error`] if the file cannot be read.
pub fn read_lenient(mut reader: impl BufRead) -> Result<ParsedLines, std::io::Error> {
    let (mut parsed, mut text) = (ParsedLines::default(), Vec::new());
    for line in 1.. {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        match parse_line(&text) {
            Ok(letter) => parsed.lines.push(letter),
            Err(reason) => parsed
                .malformed
                .push(MessagingError::InvalidLine { line, reason }),
        }
    }
    Ok(parsed)
}

fn parse_line(text: &[u8]) -> Result<DeadLetterLine, String> {
    let line: DeadLetterLine = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    super::resolve_queue_names(std::slice::from_ref(&line.queue))
        .map_err(|error| error.to_string())?;
    line.to_message()?;
    Ok(line)
}

/// Reads a file in which every line must be a letter.
///
/// # Errors
/// Returns [`MessagingError::InvalidLine`] for the first malformed line.
pub fn read_strict(reader: impl BufRead) -> Result<Vec<DeadLetterLine>, MessagingError> {
    let parsed = read_lenient(reader)?;
    match parsed.malformed.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(parsed.lines),
    }
}

/// The result of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// The number of letters that were published.
    pub imported: u64,
    /// The number of letters that were in the queue already and were not published.
    pub already_present: u64,
    /// The number of letters that the broker could not route to a queue.
    pub refused: u64,
    /// The letters that are dead letters now.
    pub letters: Vec<DeadLetter>,
}

impl ImportSummary {
    /// Returns the number of letters to import.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.imported + self.already_present + self.refused
    }
}

/// Publishes letters to their dead-letter queues unless they are there already: of letters with
/// equal fingerprints, the n-th one of the file is there if the queue has n.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached. Some letters may have been
/// published.
pub async fn import(
    connection: &Connection,
    lines: &[DeadLetterLine],
) -> Result<ImportSummary, MessagingError> {
    let lines: Vec<_> = lines.iter().map(|line| (line, true)).collect();
    publish_letters(connection, &lines).await
}

/// Publishes letters to their dead-letter queues. The flag states whether a letter may be in the
/// queue already. Without it, an equal letter in the queue is a different one, unless it has a
/// record.
pub(super) async fn publish_letters(
    connection: &Connection,
    lines: &[(&DeadLetterLine, bool)],
) -> Result<ImportSummary, MessagingError> {
    let queues: BTreeSet<String> = lines.iter().map(|(line, _)| line.queue.clone()).collect();
    let queues = super::resolve_queue_names(&queues.into_iter().collect::<Vec<_>>())?;
    let mut present = LetterCounts::default();
    let mut letter_ids = std::collections::HashSet::new();
    visit_unacked(connection, &queues, |unacked| {
        if unacked.letter.has_record {
            letter_ids.insert(unacked.letter.fingerprint);
        } else {
            present.add(&unacked.letter);
        }
        Ok(None)
    })
    .await?;
    let (mut summary, mut new_messages, mut letters) =
        (ImportSummary::default(), Vec::new(), Vec::new());
    for (line, may_be_present) in lines {
        let Ok((letter, message)) = line.to_message() else {
            summary.refused += 1;
            continue;
        };
        let is_present = if letter.has_record {
            !letter_ids.insert(letter.fingerprint.clone())
        } else {
            *may_be_present && present.take(&letter)
        };
        if is_present {
            summary.already_present += 1;
            summary.letters.push(letter);
        } else {
            new_messages.push(message);
            letters.push(letter);
        }
    }
    let channel = connection.create_channel().await?;
    let mut letters = letters.into_iter();
    for batch in split_batches(&new_messages) {
        let confirmed = publish_and_confirm(&channel, batch).await?;
        for (confirmed, letter) in confirmed.into_iter().zip(&mut letters) {
            if confirmed {
                summary.imported += 1;
                summary.letters.push(letter);
            } else {
                summary.refused += 1;
            }
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(summary)
}

/// Splits messages into batches of limited number and size.
fn split_batches(mut messages: &[OutgoingMessage]) -> impl Iterator<Item = &[OutgoingMessage]> {
    std::iter::from_fn(move || {
        let (max_count, mut free_bytes) = MAX_BATCH;
        let mut count = 0;
        for message in messages.iter().take(max_count) {
            let Some(remaining) = free_bytes.checked_sub(message.body.len()) else {
                break;
            };
            free_bytes = remaining;
            count += 1;
        }
        // A message that exceeds the limit is a batch of its own.
        let (batch, rest) = messages.split_at(count.max(1).min(messages.len()));
        messages = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn letter(body: &[u8]) -> DeadLetter {
        DeadLetter::from_message("q", 1, &BasicProperties::default(), body)
    }

    #[test]
    fn letter_counts_count_equal_letters() {
        let mut letters = LetterCounts::default();
        for _ in 0..2 {
            letters.add(&letter(b"ping"));
        }
        letters.add(&letter(b"pong"));
        assert_eq!(letters.total(), 3);
        let taken = (0..3).map(|_| letters.take(&letter(b"ping")));
        assert_eq!(taken.collect::<Vec<_>>(), [true, true, false]);
        assert!(letters.take(&letter(b"pong")) && !letters.take(&letter(b"pong")));
        assert_eq!(letters.total(), 0);
    }

    #[test]
    fn malformed_line_is_reported_with_its_number_and_others_are_parsed() {
        let good = r#"{"queue":"inventory.order-events.q","headers":{},"body":"e30="}"#;
        for bad in [
            &b"{"[..],
            b"\xff\xfe",
            br#"{"queue":"nobody.q","headers":{},"body":""}"#,
            br#"{"queue":"inventory.order-events.q","headers":{},"body":"*"}"#,
        ] {
            let file = [good.as_bytes(), b"\n\n", bad, b"\n", good.as_bytes()].concat();
            let parsed = read_lenient(&*file).unwrap();
            assert_eq!(parsed.lines.len(), 2);
            let [error] = parsed.malformed.as_slice() else {
                panic!("{:?}", parsed.malformed);
            };
            assert!(error.to_string().contains("line 3"), "{error}");
            let error = read_strict(&*file).unwrap_err();
            assert!(error.to_string().contains("line 3"), "{error}");
        }
    }

    #[test]
    fn split_batches_limits_number_and_size() {
        let message = |size| OutgoingMessage {
            exchange: String::new(),
            routing_key: "q".into(),
            mandatory: true,
            properties: BasicProperties::default(),
            body: vec![0; size],
        };
        let sizes = |messages: &[OutgoingMessage]| {
            split_batches(messages).map(<[_]>::len).collect::<Vec<_>>()
        };
        let large = 9 * 1024 * 1024;
        assert_eq!(sizes(&vec![message(1); 1200]), [500, 500, 200]);
        assert_eq!(sizes(&vec![message(large); 3]), [1, 1, 1]);
        assert_eq!(sizes(&[message(2 * large), message(1), message(1)]), [1, 2]);
        assert!(sizes(&[]).is_empty());
    }
}
