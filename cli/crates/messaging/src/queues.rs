//! The depths of the event queues, from passive declarations.

use dm_contracts::topology::{EVENT_QUEUES, EventQueue, RetryTier, dead_letter_queue, retry_queue};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use serde::Serialize;

use super::MessagingError;

/// The depth of an event queue, and of its retry and dead-letter queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueDepth {
    /// Name of the queue.
    pub queue: &'static str,
    /// The service that consumes it. `None` if the queue is for external consumers.
    pub consumer: Option<&'static str>,
    /// The number of active consumers.
    pub consumers: u32,
    /// The number of messages that are ready. Unacknowledged messages are not included.
    pub ready: u32,
    /// The number of messages that wait for a retry.
    pub retrying: u32,
    /// The number of messages that were dead-lettered.
    pub dead_lettered: u32,
}

/// Returns the depth of each of these queues.
///
/// # Errors
/// Returns [`MessagingError`] if the broker cannot be reached or a queue does not exist.
pub async fn load_depths(
    connection: &Connection,
    queues: &[EventQueue],
) -> Result<Vec<QueueDepth>, MessagingError> {
    let channel = connection.create_channel().await?;
    let mut depths = Vec::new();
    for queue in queues {
        let (ready, consumers) = passive_declare(&channel, queue.name).await?;
        let mut retrying = 0;
        for name in retry_queue_names(queue) {
            retrying += passive_declare(&channel, &name).await?.0;
        }
        depths.push(QueueDepth {
            queue: queue.name,
            consumer: queue.consumer,
            consumers,
            ready,
            retrying,
            dead_lettered: passive_declare(&channel, &dead_letter_queue(queue.name))
                .await?
                .0,
        });
    }
    channel.close(200, "done".into()).await?;
    Ok(depths)
}

/// Returns the retry queues of an event queue. The queue of the read model has none.
pub(super) fn retry_queue_names(queue: &EventQueue) -> Vec<String> {
    let tiers = queue.consumer.map_or(&[][..], |_| &RetryTier::ALL);
    tiers
        .iter()
        .map(|tier| retry_queue(queue.name, *tier))
        .collect()
}

/// Returns the event queues with these names, or all if no name is given.
///
/// # Errors
/// Returns [`MessagingError::UnknownQueue`] if a name is unknown.
pub fn resolve_event_queues(names: &[String]) -> Result<Vec<EventQueue>, MessagingError> {
    if names.is_empty() {
        return Ok(EVENT_QUEUES.to_vec());
    }
    let resolve = |name: &String| {
        let queue = EVENT_QUEUES.iter().find(|queue| queue.name == name);
        queue
            .copied()
            .ok_or_else(|| MessagingError::UnknownQueue { name: name.clone() })
    };
    names.iter().map(resolve).collect()
}

/// Returns the number of ready messages of a queue.
pub(super) async fn ready_count(channel: &Channel, queue: &str) -> Result<u32, MessagingError> {
    Ok(passive_declare(channel, queue).await?.0)
}

/// Returns the number of ready messages and the number of consumers of a queue.
async fn passive_declare(channel: &Channel, queue: &str) -> Result<(u32, u32), MessagingError> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await?;
    Ok((declared.message_count(), declared.consumer_count()))
}
