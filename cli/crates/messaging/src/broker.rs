//! The broker, for its administrator.

use std::time::{Duration, Instant};

pub use dm_amqp::OutgoingMessage;
use dm_amqp::PublishOutcome;
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind};

use super::MessagingError;

/// The queue that stands for the right to have the dead letters in hand.
const DEAD_LETTER_LOCK_QUEUE: &str = "dm.dead-letters.turn";
/// How long to wait for that right.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before that right is asked for again, at first …
const INITIAL_RETRY_DELAY: Duration = Duration::from_millis(200);
/// … and in the end.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(20);

/// A connection as administrator.
///
/// # Errors
/// The broker is away, or refuses.
pub async fn connect(uri: &str) -> Result<Connection, MessagingError> {
    Ok(dm_amqp::connect(uri, "dm").await?)
}

/// Waits until nobody else has the dead letters in hand. The right goes with the
/// connection: it is a queue that is this connection's alone, so that a process that is
/// killed keeps nobody waiting.
///
/// # Errors
/// [`MessagingError::Busy`] where somebody keeps them.
pub async fn acquire_dead_letter_lock(connection: &Connection) -> Result<(), MessagingError> {
    let began = Instant::now();
    loop {
        // A refusal closes the channel that it came on.
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
            Err(_) if began.elapsed() > LOCK_TIMEOUT => {
                return Err(MessagingError::DeadLettersLocked(LOCK_TIMEOUT));
            }
            Err(_) => tokio::time::sleep(retry_delay(began.elapsed())).await,
        }
    }
}

/// How long to wait before asking again. The broker keeps no queue of those that wait: who has
/// waited longer asks more often, so that newcomers do not overtake it again and again.
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

/// Publishes all of them and waits for every confirm. Answers, in their
/// order, whether the broker has each in a queue.
///
/// # Errors
/// The connection broke: some of them may be there.
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
    let there = outcomes
        .iter()
        .map(|outcome| *outcome == PublishOutcome::Confirmed);
    Ok(there.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_shrinks_with_the_wait_and_never_ends() {
        let pauses = [0, 1, 4, 9, 60, u64::MAX].map(|it| retry_delay(Duration::from_secs(it)));
        assert_eq!(pauses[0], INITIAL_RETRY_DELAY);
        assert!(pauses.is_sorted_by(|one, next| one >= next), "{pauses:?}");
        assert_eq!(pauses[5], MIN_RETRY_DELAY);
    }
}
