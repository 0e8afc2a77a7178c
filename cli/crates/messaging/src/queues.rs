//! How the work queues stand, as the broker tells at once.

use dm_contracts::topology::{RetryTier, WORK_QUEUES, WorkQueue, dead_letter_queue, retry_queue};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use serde::Serialize;

use super::MessagingError;

/// How a work queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueDepth {
    /// The queue.
    pub queue: &'static str,
    /// The service that consumes it; nobody's where it is for outside use.
    pub consumer: Option<&'static str>,
    /// How many consumers it has now.
    pub consumers: u32,
    /// How many events wait in it. Those that a consumer has at hand are none of them.
    pub ready: u32,
    /// How many wait to be tried again.
    pub retrying: u32,
    /// How many were set aside.
    pub dead: u32,
}

/// How each of these queues stands.
///
/// # Errors
/// The broker is away, or has lost a queue.
pub async fn load_depths(
    connection: &Connection,
    queues: &[WorkQueue],
) -> Result<Vec<QueueDepth>, MessagingError> {
    let channel = connection.create_channel().await?;
    let mut found = Vec::new();
    for queue in queues {
        let (ready, consumers) = passive_declare(&channel, queue.name).await?;
        let mut retrying = 0;
        for name in retry_queue_names(queue) {
            retrying += passive_declare(&channel, &name).await?.0;
        }
        found.push(QueueDepth {
            queue: queue.name,
            consumer: queue.consumer,
            consumers,
            ready,
            retrying,
            dead: passive_declare(&channel, &dead_letter_queue(queue.name))
                .await?
                .0,
        });
    }
    channel.close(200, "done".into()).await?;
    Ok(found)
}

/// The queues in which events of a work queue wait to be tried again.
pub(super) fn retry_queue_names(queue: &WorkQueue) -> Vec<String> {
    let tiers = queue.consumer.map_or(&[][..], |_| &RetryTier::ALL);
    tiers
        .iter()
        .map(|tier| retry_queue(queue.name, *tier))
        .collect()
}

/// The work queues of these names; all where none is given.
///
/// # Errors
/// [`MessagingError::UnknownQueue`].
pub fn resolve_work_queues(names: &[String]) -> Result<Vec<WorkQueue>, MessagingError> {
    if names.is_empty() {
        return Ok(WORK_QUEUES.to_vec());
    }
    let one = |name: &String| {
        let found = WORK_QUEUES.iter().find(|queue| queue.name == name);
        found
            .copied()
            .ok_or_else(|| MessagingError::UnknownQueue { name: name.clone() })
    };
    names.iter().map(one).collect()
}

/// How many messages a queue has ready.
pub(super) async fn ready_count(channel: &Channel, queue: &str) -> Result<u32, MessagingError> {
    Ok(passive_declare(channel, queue).await?.0)
}

/// How many messages a queue has ready, and how many consumers.
async fn passive_declare(channel: &Channel, queue: &str) -> Result<(u32, u32), MessagingError> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await?;
    Ok((found.message_count(), found.consumer_count()))
}
