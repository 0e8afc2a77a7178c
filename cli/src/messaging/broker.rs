//! The broker, for its administrator.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind};

use super::MessagingError;

/// The queue that stands for the right to have the dead letters in hand.
const TURN: &str = "dm.dead-letters.turn";
/// How long to wait for that right.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked for.
const LOOK: Duration = Duration::from_millis(200);

/// A connection as administrator.
///
/// # Errors
/// The broker is away, or refuses.
pub async fn connect(uri: &str) -> Result<Connection, MessagingError> {
    let properties = ConnectionProperties::default().with_connection_name("dm".into());
    Ok(Connection::connect(uri, properties).await?)
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
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn is_locked(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => {
            *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)
        }
        _ => false,
    }
}

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The exchange; the default one where it is empty.
    pub exchange: String,
    /// The routing key: the queue's name on the default exchange.
    pub routing_key: String,
    /// Its properties, an id among them.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Vec<u8>,
}

/// Publishes all of them, mandatory, and waits for every confirm. Answers, in their
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
    let mut confirms = Vec::with_capacity(messages.len());
    for message in messages {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirm = channel
            .basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                options,
                &message.body,
                message.properties.clone(),
            )
            .await?;
        confirms.push(confirm);
    }
    let id = |properties: &BasicProperties| properties.message_id().clone();
    let mut taken = Vec::with_capacity(messages.len());
    let mut returned: HashSet<Option<ShortString>> = HashSet::new();
    for confirm in confirms {
        let confirmation = confirm.await?;
        taken.push(confirmation.is_ack());
        // A return comes with whichever confirm is next: its id says whose it is.
        returned.extend(
            confirmation
                .take_message()
                .map(|message| id(&message.properties)),
        );
    }
    let rest = channel.wait_for_confirms().await?;
    returned.extend(rest.iter().map(|message| id(&message.properties)));
    let there = messages
        .iter()
        .zip(taken)
        .map(|(message, taken)| taken && !returned.contains(&id(&message.properties)));
    Ok(there.collect())
}
