//! A pass over the dead letters of a queue, each of them once.
//!
//! A consumer that could not know whether its letter had arrived publishes it again. Such a
//! copy has the identity of the letter and its body: it is taken out of the queue where it
//! is met, while the letter stays. Letters that nobody has a record of stay apart however
//! alike they are.

use std::collections::HashSet;

use dm_amqp::Original;
use dm_contracts::topology::dead_letter_queue;
use lapin::Connection;
use lapin::message::Delivery;

use super::DeadLetter;
use crate::MessagingError;
use crate::reader::Reader;

/// Goes over the dead letters of these queues, one queue after the other. What `seen` returns
/// is taken out of the queue for good; every other letter stays.
///
/// # Errors
/// The broker is away, or `seen` fails: some of what was to be taken may still be there.
pub(super) async fn browse(
    connection: &Connection,
    queues: &[&'static str],
    mut seen: impl FnMut(Found) -> Result<Option<Found>, MessagingError>,
) -> Result<(), MessagingError> {
    for &queue in queues {
        let mut pass = Pass::open(connection, queue).await?;
        while let Some(found) = pass.next().await? {
            if let Some(taken) = seen(found)? {
                pass.take(&taken).await?;
            }
        }
        // The broker has the acknowledgements once it has closed the channel.
        pass.close().await?;
    }
    Ok(())
}

/// A letter in hand: read, and not acknowledged.
pub(super) struct Found {
    pub(super) letter: DeadLetter,
    pub(super) delivery: Delivery,
    /// Its place among all that was read, copies included.
    read: u64,
}

impl Found {
    /// The letter as it was before anything was copied.
    pub(super) fn original(&self) -> Original {
        let Delivery {
            exchange,
            routing_key,
            properties,
            ..
        } = &self.delivery;
        Original::of(exchange.as_str(), routing_key.as_str(), properties)
    }
}

/// A pass over the dead letters of a work queue.
pub(super) struct Pass {
    queue: String,
    reader: Reader,
    /// The letters with a record that were met.
    met: HashSet<u128>,
    copies: u64,
}

impl Pass {
    /// Begins a pass.
    pub(super) async fn open(connection: &Connection, queue: &str) -> Result<Self, MessagingError> {
        Ok(Self {
            queue: queue.to_owned(),
            reader: Reader::open(connection, &dead_letter_queue(queue)).await?,
            met: HashSet::new(),
            copies: 0,
        })
    }

    /// The next letter; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, MessagingError> {
        while let Some((read, delivery)) = self.reader.next().await? {
            let position = read - self.copies;
            let Delivery {
                properties, data, ..
            } = &delivery;
            let letter = DeadLetter::read(&self.queue, position, properties, data);
            let record = u128::from_str_radix(&letter.fingerprint, 16);
            if letter.recorded
                && let Ok(record) = record
                && !self.met.insert(record)
            {
                self.reader.take(read, &delivery).await?;
                self.copies += 1;
                continue;
            }
            return Ok(Some(Found {
                letter,
                delivery,
                read,
            }));
        }
        Ok(None)
    }

    /// Takes a letter out of the queue for good.
    pub(super) async fn take(&mut self, found: &Found) -> Result<(), MessagingError> {
        self.reader.take(found.read, &found.delivery).await
    }

    /// Gives everything back that was not taken.
    pub(super) async fn close(self) -> Result<(), MessagingError> {
        self.reader.close().await
    }
}
