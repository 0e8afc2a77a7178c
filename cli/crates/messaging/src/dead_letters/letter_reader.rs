//! Reads the dead letters of a queue, each of them once.
//!
//! A consumer that does not know whether its letter arrived publishes it again. The copy has the
//! letter id and the body of the letter; it is removed from the queue when it is read, and the
//! first letter stays. Letters without a record are never treated as copies.

use std::collections::HashSet;

use dm_amqp::OriginalMessage;
use dm_contracts::topology::dead_letter_queue;
use lapin::Connection;
use lapin::message::Delivery;

use super::DeadLetter;
use crate::MessagingError;
use crate::queue_browser::QueueBrowser;

/// Calls `visit` for the dead letters of these queues, one queue after the other. The letters that
/// `visit` returns, and copies, are removed from their queue; the other letters stay.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached or `visit` fails. Some letters to
/// remove may still be there.
pub(super) async fn visit_unacked(
    connection: &Connection,
    queues: &[&'static str],
    mut visit: impl FnMut(UnackedLetter) -> Result<Option<UnackedLetter>, MessagingError>,
) -> Result<(), MessagingError> {
    for &queue in queues {
        let mut reader = LetterReader::open(connection, queue).await?;
        while let Some(letter) = reader.next().await? {
            if let Some(removed) = visit(letter)? {
                reader.ack(&removed).await?;
            }
        }
        // The broker has received the acknowledgements when the channel is closed.
        reader.requeue_and_close().await?;
    }
    Ok(())
}

/// A letter that was read and not acknowledged.
pub(super) struct UnackedLetter {
    pub(super) letter: DeadLetter,
    pub(super) delivery: Delivery,
    /// The position among all messages that were read, including copies.
    read_position: u64,
}

impl UnackedLetter {
    /// Returns the original message of the letter.
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

/// Reads the dead letters of a work queue.
pub(super) struct LetterReader {
    queue: String,
    browser: QueueBrowser,
    /// The letter ids of the letters that were read and have a record.
    seen_letter_ids: HashSet<u128>,
    removed_copies: u64,
}

impl LetterReader {
    /// Opens the dead-letter queue of a work queue.
    pub(super) async fn open(connection: &Connection, queue: &str) -> Result<Self, MessagingError> {
        Ok(Self {
            queue: queue.to_owned(),
            browser: QueueBrowser::open(connection, &dead_letter_queue(queue)).await?,
            seen_letter_ids: HashSet::new(),
            removed_copies: 0,
        })
    }

    /// Returns the next letter. `None` after the last letter.
    pub(super) async fn next(&mut self) -> Result<Option<UnackedLetter>, MessagingError> {
        while let Some((read_position, delivery)) = self.browser.next().await? {
            let position = read_position - self.removed_copies;
            let Delivery {
                properties, data, ..
            } = &delivery;
            let letter = DeadLetter::from_message(&self.queue, position, properties, data);
            let letter_id = u128::from_str_radix(&letter.fingerprint, 16);
            if letter.has_record
                && let Ok(letter_id) = letter_id
                && !self.seen_letter_ids.insert(letter_id)
            {
                self.browser.ack(read_position, &delivery).await?;
                self.removed_copies += 1;
                continue;
            }
            return Ok(Some(UnackedLetter {
                letter,
                delivery,
                read_position,
            }));
        }
        Ok(None)
    }

    /// Removes a letter from the queue.
    pub(super) async fn ack(&mut self, unacked: &UnackedLetter) -> Result<(), MessagingError> {
        self.browser
            .ack(unacked.read_position, &unacked.delivery)
            .await
    }

    /// Requeues all letters that were not acknowledged, and closes the channel.
    pub(super) async fn requeue_and_close(self) -> Result<(), MessagingError> {
        self.browser.requeue_and_close().await
    }
}
