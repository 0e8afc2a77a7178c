//! Requeues messages that wait for a retry.

use dm_contracts::topology::EventQueue;
use lapin::Connection;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions};

use crate::broker::{OutgoingMessage, publish_and_confirm};
use crate::{MessagingError, queues};

/// Moves the messages in the retry queues of these work queues back to the work queues, like
/// the broker after the delay. The attempt counts stay. Returns the number of messages.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached. A message that was published and not
/// acknowledged is in both queues, and is processed once.
pub async fn requeue_waiting(
    connection: &Connection,
    queues: &[EventQueue],
) -> Result<u64, MessagingError> {
    let channel = connection.create_channel().await?;
    let mut moved = 0;
    for queue in queues {
        for retry_queue in queues::retry_queue_names(queue) {
            // Only the messages that are in the queue now: an event that fails at once comes
            // back, and would be retried until it is dead-lettered.
            for _ in 0..queues::ready_count(&channel, &retry_queue).await? {
                let Some(message) = channel
                    .basic_get(retry_queue.as_str().into(), BasicGetOptions::default())
                    .await?
                else {
                    break;
                };
                let Delivery {
                    properties, data, ..
                } = &message.delivery;
                let outgoing = OutgoingMessage {
                    exchange: String::new(),
                    routing_key: queue.name.to_owned(),
                    mandatory: true,
                    properties: properties.clone(),
                    body: data.clone(),
                };
                if publish_and_confirm(&channel, &[outgoing]).await? != [true] {
                    return Err(MessagingError::UnknownQueue {
                        name: queue.name.to_owned(),
                    });
                }
                message.delivery.ack(BasicAckOptions::default()).await?;
                moved += 1;
            }
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(moved)
}
