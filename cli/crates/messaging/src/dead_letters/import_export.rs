//! Dead letters as a file, JSON lines, and back.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Write};

use lapin::Connection;

use super::json_line::DeadLetterLine;
use super::letter_reader::visit_unacked;
use super::{DeadLetter, DeadLetterFilter};
use crate::MessagingError;
use crate::broker::{OutgoingMessage, publish_and_confirm};

/// How many letters are put back at a time, and how many bytes of theirs.
const MAX_BATCH: (usize, usize) = (500, 16 * 1024 * 1024);

/// Letters by queue and fingerprint, and how many there are of each: without a record,
/// several can be alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterCounts {
    by_queue: HashMap<String, HashMap<String, u64>>,
    total: u64,
}

impl LetterCounts {
    /// Adds a letter.
    pub(super) fn add(&mut self, letter: &DeadLetter) {
        let alike = self.by_queue.entry(letter.queue.clone()).or_default();
        *alike.entry(letter.fingerprint.clone()).or_default() += 1;
        self.total += 1;
    }

    /// Takes one of these letters out; false where none is left.
    fn take(&mut self, letter: &DeadLetter) -> bool {
        let alike = self.by_queue.get_mut(&letter.queue);
        match alike.and_then(|of| of.get_mut(&letter.fingerprint)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                self.total -= 1;
                true
            }
            _ => false,
        }
    }

    /// How many they are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
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
    filter: &DeadLetterFilter,
    mut writer: impl Write,
) -> Result<LetterCounts, MessagingError> {
    let mut written = LetterCounts::default();
    visit_unacked(connection, queues, |found| {
        if filter.matches(&found.letter) {
            let queue = &found.letter.queue;
            let line =
                DeadLetterLine::from_original(queue, &found.original(), &found.delivery.data);
            serde_json::to_writer(&mut writer, &line).map_err(std::io::Error::from)?;
            writer.write_all(b"\n")?;
            written.add(&found.letter);
        }
        Ok(None)
    })
    .await?;
    writer.flush()?;
    Ok(written)
}

/// Removes letters of which there is a copy elsewhere: of those that are alike, as many as
/// were copied. Answers which letters these are.
///
/// # Errors
/// The broker is away: some of them may be gone.
pub async fn remove(
    connection: &Connection,
    queues: &[&'static str],
    mut letters: LetterCounts,
) -> Result<Vec<DeadLetter>, MessagingError> {
    let mut removed = Vec::new();
    visit_unacked(connection, queues, |found| {
        let is_one = letters.take(&found.letter);
        if is_one {
            removed.push(found.letter.clone());
        }
        Ok(is_one.then_some(found))
    })
    .await?;
    Ok(removed)
}

/// What a file of letters holds.
#[derive(Debug, Default)]
pub struct ParsedLines {
    /// The letters.
    pub lines: Vec<DeadLetterLine>,
    /// The lines that hold none, and why.
    pub malformed: Vec<MessagingError>,
}

/// Reads a file whole. A line that holds no letter keeps no other one out.
///
/// # Errors
/// The file can't be read.
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
            Err(what) => parsed
                .malformed
                .push(MessagingError::InvalidLine { line, what }),
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

/// Reads a file of which every line has to be a letter.
///
/// # Errors
/// [`MessagingError::Line`] with the first line that is none.
pub fn read_strict(reader: impl BufRead) -> Result<Vec<DeadLetterLine>, MessagingError> {
    let parsed = read_lenient(reader)?;
    match parsed.malformed.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(parsed.lines),
    }
}

/// What became of letters that were to be put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// How many are there now.
    pub imported: u64,
    /// How many were there before, and came no second time.
    pub already_present: u64,
    /// How many the broker had no queue for.
    pub refused: u64,
    /// Those that are among the dead now.
    pub letters: Vec<DeadLetter>,
}

impl ImportSummary {
    /// How many were to be put back.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.imported + self.already_present + self.refused
    }
}

/// Puts letters back among the dead, without those that are there: of letters that are
/// alike, the n-th one of the file is there where the queue has n.
///
/// # Errors
/// The broker is away: some of them may be there.
pub async fn import(
    connection: &Connection,
    lines: &[DeadLetterLine],
) -> Result<ImportSummary, MessagingError> {
    let lines: Vec<_> = lines.iter().map(|line| (line, true)).collect();
    publish_letters(connection, &lines).await
}

/// Puts letters back. Each one says whether it may be there already: of a letter that
/// can't be, the like of it that is there is another one, unless it has a record.
pub(super) async fn publish_letters(
    connection: &Connection,
    lines: &[(&DeadLetterLine, bool)],
) -> Result<ImportSummary, MessagingError> {
    let queues: BTreeSet<String> = lines.iter().map(|(line, _)| line.queue.clone()).collect();
    let queues = super::resolve_queue_names(&queues.into_iter().collect::<Vec<_>>())?;
    let mut there = LetterCounts::default();
    let mut records = std::collections::HashSet::new();
    visit_unacked(connection, &queues, |found| {
        if found.letter.has_record {
            records.insert(found.letter.fingerprint);
        } else {
            there.add(&found.letter);
        }
        Ok(None)
    })
    .await?;
    let (mut imported, mut new, mut letters) = (ImportSummary::default(), Vec::new(), Vec::new());
    for (line, may_be_there) in lines {
        let Ok((letter, message)) = line.to_message() else {
            imported.refused += 1;
            continue;
        };
        let known = if letter.has_record {
            !records.insert(letter.fingerprint.clone())
        } else {
            *may_be_there && there.take(&letter)
        };
        if known {
            imported.already_present += 1;
            imported.letters.push(letter);
        } else {
            new.push(message);
            letters.push(letter);
        }
    }
    let channel = connection.create_channel().await?;
    let mut letters = letters.into_iter();
    for portion in split_batches(&new) {
        let taken = publish_and_confirm(&channel, portion).await?;
        for (taken, letter) in taken.into_iter().zip(&mut letters) {
            if taken {
                imported.imported += 1;
                imported.letters.push(letter);
            } else {
                imported.refused += 1;
            }
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(imported)
}

/// Few enough messages at a time, in number and in size.
fn split_batches(mut messages: &[OutgoingMessage]) -> impl Iterator<Item = &[OutgoingMessage]> {
    std::iter::from_fn(move || {
        let (most, mut room) = MAX_BATCH;
        let mut count = 0;
        for message in messages.iter().take(most) {
            let Some(left) = room.checked_sub(message.body.len()) else {
                break;
            };
            room = left;
            count += 1;
        }
        // One that is too large goes by itself.
        let (portion, rest) = messages.split_at(count.max(1).min(messages.len()));
        messages = rest;
        (!portion.is_empty()).then_some(portion)
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
    fn letters_that_are_alike_are_counted() {
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
    fn a_line_that_is_none_is_named_and_keeps_no_other_one_out() {
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
    fn portions_are_small_in_number_and_in_size() {
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
