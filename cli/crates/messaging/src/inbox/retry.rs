//! What waits to be tried again goes now.

use dm_contracts::topology::WorkQueue;
use lapin::Connection;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions};

use crate::broker::{OutgoingMessage, publish_and_confirm};
use crate::{MessagingError, queues};

/// Puts what waits in the retry queues of these work queues back into them, as the
/// broker would when its time is up. What was tried so often before counts on. Answers
/// how many these are.
///
/// # Errors
/// The broker is away: what was published and not acknowledged is in both queues, and
/// applied once.
pub async fn requeue_waiting(
    connection: &Connection,
    queues: &[WorkQueue],
) -> Result<u64, MessagingError> {
    let channel = connection.create_channel().await?;
    let mut moved = 0;
    for queue in queues {
        for waiting in queues::retry_queue_names(queue) {
            // What is there now, and no more: an event that fails at once comes back, and
            // would be tried until it is dead.
            for _ in 0..queues::ready_count(&channel, &waiting).await? {
                let Some(got) = channel
                    .basic_get(waiting.as_str().into(), BasicGetOptions::default())
                    .await?
                else {
                    break;
                };
                let Delivery {
                    properties, data, ..
                } = &got.delivery;
                let message = OutgoingMessage {
                    exchange: String::new(),
                    routing_key: queue.name.to_owned(),
                    mandatory: true,
                    properties: properties.clone(),
                    body: data.clone(),
                };
                if publish_and_confirm(&channel, &[message]).await? != [true] {
                    return Err(MessagingError::UnknownQueue {
                        name: queue.name.to_owned(),
                    });
                }
                got.delivery.ack(BasicAckOptions::default()).await?;
                moved += 1;
            }
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(moved)
}
