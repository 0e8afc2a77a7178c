//! Access to the broker as administrator.

use std::time::{Duration, Instant};

pub use dm_amqp::OutgoingMessage;
use dm_amqp::PublishOutcome;
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind};

use super::MessagingError;

/// The exclusive queue that serves as the lock of the dead letters.
const DEAD_LETTER_LOCK_QUEUE: &str = "dm.dead-letters.turn";
/// The timeout for acquiring the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// The delay before the first retry.
const INITIAL_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The minimum delay before a retry.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(20);

/// Opens a connection as administrator.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached or refuses the connection.
pub async fn connect(uri: &str) -> Result<Connection, MessagingError> {
    Ok(dm_amqp::connect(uri, "dm").await?)
}

/// Acquires the lock of the dead letters. The lock is an exclusive queue of this connection,
/// so the broker releases it when the process is killed.
///
/// # Errors
/// Returns [`MessagingError::DeadLettersLocked`] if another process holds the lock for longer
/// than 60 s.
pub async fn acquire_dead_letter_lock(connection: &Connection) -> Result<(), MessagingError> {
    let started_at = Instant::now();
    loop {
        // A refusal closes the channel.
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        match channel
            .queue_declare(
                DEAD_LETTER_LOCK_QUEUE.into(),
                options,
                FieldTable::default(),
            )
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if !is_locked(&error) => return Err(error.into()),
            Err(_) if started_at.elapsed() > LOCK_TIMEOUT => {
                return Err(MessagingError::DeadLettersLocked(LOCK_TIMEOUT));
            }
            Err(_) => tokio::time::sleep(retry_delay(started_at.elapsed())).await,
        }
    }
}

/// Returns the delay before the next retry. The broker does not queue waiting processes. The
/// delay shrinks with the time waited, so that newcomers do not overtake repeatedly.
fn retry_delay(waited: Duration) -> Duration {
    let seconds = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
    (INITIAL_RETRY_DELAY / seconds.saturating_add(1)).max(MIN_RETRY_DELAY)
}

fn is_locked(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)
        }
        _ => false,
    }
}

/// Publishes the messages and waits for every confirm. Returns, in the order of the messages,
/// whether the broker confirmed each one.
///
/// # Errors
/// Returns [`MessagingError`] if the connection breaks. Some of the messages may have been
/// published.
pub async fn publish_and_confirm(
    channel: &Channel,
    messages: &[OutgoingMessage],
) -> Result<Vec<bool>, MessagingError> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let outcomes = dm_amqp::publish(channel, messages)
        .await?
        .wait_for_confirms(channel)
        .await?;
    let confirmed = outcomes
        .iter()
        .map(|outcome| *outcome == PublishOutcome::Confirmed);
    Ok(confirmed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delay_shrinks_to_its_minimum() {
        let delays =
            [0, 1, 4, 9, 60, u64::MAX].map(|seconds| retry_delay(Duration::from_secs(seconds)));
        assert_eq!(delays[0], INITIAL_RETRY_DELAY);
        assert!(delays.is_sorted_by(|one, next| one >= next), "{delays:?}");
        assert_eq!(delays[5], MIN_RETRY_DELAY);
    }
}
