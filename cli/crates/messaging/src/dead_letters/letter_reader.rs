//! A pass over the dead letters of a queue, each of them once.
//!
//! A consumer that could not know whether its letter had arrived publishes it again. Such a
//! copy has the identity of the letter and its body: it is taken out of the queue where it
//! is met, while the letter stays. Letters that nobody has a record of stay apart however
//! alike they are.

use std::collections::HashSet;

use dm_amqp::OriginalMessage;
use dm_contracts::topology::dead_letter_queue;
use lapin::Connection;
use lapin::message::Delivery;

use super::DeadLetter;
use crate::MessagingError;
use crate::queue_browser::QueueBrowser;

/// Goes over the dead letters of these queues, one queue after the other. What `seen` returns
/// is taken out of the queue for good; every other letter stays.
///
/// # Errors
/// The broker is away, or `seen` fails: some of what was to be taken may still be there.
pub(super) async fn visit_unacked(
    connection: &Connection,
    queues: &[&'static str],
    mut visit: impl FnMut(UnackedLetter) -> Result<Option<UnackedLetter>, MessagingError>,
) -> Result<(), MessagingError> {
    for &queue in queues {
        let mut pass = LetterReader::open(connection, queue).await?;
        while let Some(found) = pass.next().await? {
            if let Some(taken) = visit(found)? {
                pass.ack(&taken).await?;
            }
        }
        // The broker has the acknowledgements once it has closed the channel.
        pass.requeue_and_close().await?;
    }
    Ok(())
}

/// A letter in hand: read, and not acknowledged.
pub(super) struct UnackedLetter {
    pub(super) letter: DeadLetter,
    pub(super) delivery: Delivery,
    /// Its place among all that was read, copies included.
    read_position: u64,
}

impl UnackedLetter {
    /// The letter as it was before anything was copied.
    pub(super) fn original(&self) -> OriginalMessage {
        let Delivery {
            exchange,
            routing_key,
            properties,
            ..
        } = &self.delivery;
        OriginalMessage::from_message(exchange.as_str(), routing_key.as_str(), properties)
    }
}

/// A pass over the dead letters of a work queue.
pub(super) struct LetterReader {
    queue: String,
    browser: QueueBrowser,
    /// The letters with a record that were met.
    seen_records: HashSet<u128>,
    removed_copies: u64,
}

impl LetterReader {
    /// Begins a pass.
    pub(super) async fn open(connection: &Connection, queue: &str) -> Result<Self, MessagingError> {
        Ok(Self {
            queue: queue.to_owned(),
            browser: QueueBrowser::open(connection, &dead_letter_queue(queue)).await?,
            seen_records: HashSet::new(),
            removed_copies: 0,
        })
    }

    /// The next letter; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<UnackedLetter>, MessagingError> {
        while let Some((read, delivery)) = self.browser.next().await? {
            let position = read - self.removed_copies;
            let Delivery {
                properties, data, ..
            } = &delivery;
            let letter = DeadLetter::from_message(&self.queue, position, properties, data);
            let record = u128::from_str_radix(&letter.fingerprint, 16);
            if letter.has_record
                && let Ok(record) = record
                && !self.seen_records.insert(record)
            {
                self.browser.ack(read, &delivery).await?;
                self.removed_copies += 1;
                continue;
            }
            return Ok(Some(UnackedLetter {
                letter,
                delivery,
                read_position: read,
            }));
        }
        Ok(None)
    }

    /// Takes a letter out of the queue for good.
    pub(super) async fn ack(&mut self, found: &UnackedLetter) -> Result<(), MessagingError> {
        self.browser.ack(found.read_position, &found.delivery).await
    }

    /// Gives everything back that was not taken.
    pub(super) async fn requeue_and_close(self) -> Result<(), MessagingError> {
        self.browser.requeue_and_close().await
    }
}
