//! The broker, for its administrator.

use std::time::{Duration, Instant};

use dm_amqp::Outcome;
pub use dm_amqp::Outgoing;
use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind};

use super::MessagingError;

/// The queue that stands for the right to have the dead letters in hand.
const TURN: &str = "dm.dead-letters.turn";
/// How long to wait for that right.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before that right is asked for again, at first …
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// … and in the end.
const LAST_PAUSE: Duration = Duration::from_millis(20);

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
pub async fn turn(connection: &Connection) -> Result<(), MessagingError> {
    let began = Instant::now();
    loop {
        // A refusal closes the channel that it came on.
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        match channel
            .queue_declare(TURN.into(), options, FieldTable::default())
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if !is_locked(&error) => return Err(error.into()),
            Err(_) if began.elapsed() > PATIENCE => return Err(MessagingError::Busy(PATIENCE)),
            Err(_) => tokio::time::sleep(pause(began.elapsed())).await,
        }
    }
}

/// How long to wait before asking again. The broker keeps no queue of those that wait: who has
/// waited longer asks more often, so that newcomers do not overtake it again and again.
fn pause(waited: Duration) -> Duration {
    let seconds = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
    (FIRST_PAUSE / seconds.saturating_add(1)).max(LAST_PAUSE)
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
pub async fn publish(
    channel: &Channel,
    messages: &[Outgoing],
) -> Result<Vec<bool>, MessagingError> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let outcomes = dm_amqp::send(channel, messages)
        .await?
        .settle(channel)
        .await?;
    let there = outcomes
        .iter()
        .map(|outcome| *outcome == Outcome::Confirmed);
    Ok(there.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_shrinks_with_the_wait_and_never_ends() {
        let pauses = [0, 1, 4, 9, 60, u64::MAX].map(|it| pause(Duration::from_secs(it)));
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert!(pauses.is_sorted_by(|one, next| one >= next), "{pauses:?}");
        assert_eq!(pauses[5], LAST_PAUSE);
    }
}
