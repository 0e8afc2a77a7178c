//! Reads a dead-letter queue. Removes only the messages that its caller acknowledges.
//!
//! A message is not acknowledged unless [`QueueBrowser::ack`] is called. It returns to its
//! position when the channel closes or the process is killed: dead-letter queues are
//! classic queues, where a requeue changes neither body nor headers nor order. A
//! consumer gets a bounded number of messages, and the next ones come from another
//! consumer of the same channel, so memory is bounded whatever the queue's depth. Messages
//! that other consumers remove meanwhile are not waited for. Work queues are quorum queues,
//! which count deliveries; they are read by [`super::queue_inspector`].

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::Instant;

use crate::{MessagingError, queues};

/// The maximum number of unacknowledged messages per consumer.
const PREFETCH_WINDOW: u16 = 2_000;
/// The timeout for the next message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval at which the depth of the queue is checked while no message arrives.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The number of consecutive polls that must find the queue empty: a message that is being
/// delivered is no longer counted as ready.
const MAX_EMPTY_POLLS: usize = 2;

/// The result of waiting for a message.
#[derive(Debug, PartialEq, Eq)]
enum NextMessage<T> {
    /// The consumer received a message.
    Received(T),
    /// The queue is empty: other consumers have removed the remaining messages.
    Drained,
    /// The queue has messages, but the consumer receives none.
    Stalled,
}

/// Waits for the next message of a consumer. `ready_count` returns the number of ready messages.
async fn wait_for_next<T, E, W>(
    consumer: &mut (impl Stream<Item = T> + Unpin),
    ready_count: impl Fn() -> W,
) -> Result<NextMessage<T>, E>
where
    W: Future<Output = Result<u32, E>>,
{
    let (started_at, mut empty_polls) = (Instant::now(), 0);
    loop {
        match tokio::time::timeout(POLL_INTERVAL, consumer.next()).await {
            Ok(Some(message)) => return Ok(NextMessage::Received(message)),
            Ok(None) => return Ok(NextMessage::Stalled),
            Err(_) if started_at.elapsed() > DELIVERY_TIMEOUT => return Ok(NextMessage::Stalled),
            Err(_) => {}
        }
        empty_polls = if ready_count().await? == 0 {
            empty_polls + 1
        } else {
            0
        };
        if empty_polls == MAX_EMPTY_POLLS {
            return Ok(NextMessage::Drained);
        }
    }
}

/// Reads the messages that a queue contains when it is opened.
pub(super) struct QueueBrowser {
    queue: String,
    channel: Channel,
    consumer: Option<Consumer>,
    /// The number of messages that the open consumer may still receive within its window.
    window_remaining: u16,
    /// The position of the first message of the open consumer.
    window_start: u64,
    read_count: u64,
    expected_count: u64,
}

impl QueueBrowser {
    /// Opens a queue for reading.
    pub(super) async fn open(connection: &Connection, queue: &str) -> Result<Self, MessagingError> {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?;
        Ok(Self {
            expected_count: declared.message_count().into(),
            queue: queue.to_owned(),
            channel,
            consumer: None,
            window_remaining: 0,
            window_start: 1,
            read_count: 0,
        })
    }

    /// Returns the next message with its position, from 1. `None` after the last message.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Delivery)>, MessagingError> {
        if self.read_count == self.expected_count {
            return Ok(None);
        }
        if self.window_remaining == 0 {
            self.open_next_window().await?;
        }
        let Some(delivery) = self.next_delivery().await? else {
            // Other consumers have removed the remaining messages.
            self.expected_count = self.read_count;
            return Ok(None);
        };
        self.window_remaining -= 1;
        self.read_count += 1;
        Ok(Some((self.read_count, delivery?)))
    }

    /// Returns the next message of the open consumer. `None` if the queue is empty.
    async fn next_delivery(
        &mut self,
    ) -> Result<Option<Result<Delivery, lapin::Error>>, MessagingError> {
        let Some(consumer) = &mut self.consumer else {
            return Ok(None);
        };
        // Unacknowledged messages are not counted.
        let ready_count = || queues::ready_count(&self.channel, &self.queue);
        match wait_for_next(consumer, ready_count).await? {
            NextMessage::Received(delivery) => Ok(Some(delivery)),
            NextMessage::Drained => Ok(None),
            NextMessage::Stalled => Err(MessagingError::QueueStalled {
                queue: self.queue.clone(),
                read: self.read_count,
                expected: self.expected_count,
                timeout: DELIVERY_TIMEOUT,
            }),
        }
    }

    /// Starts a new consumer for the next window of messages.
    async fn open_next_window(&mut self) -> Result<(), MessagingError> {
        if let Some(consumer) = self.consumer.take() {
            // All messages of its window were read, so none is lost by the cancellation.
            self.channel
                .basic_cancel(consumer.tag(), BasicCancelOptions::default())
                .await?;
        }
        let remaining = self.expected_count - self.read_count;
        let window = u16::try_from(remaining)
            .map_or(PREFETCH_WINDOW, |remaining| remaining.min(PREFETCH_WINDOW));
        // Applies to each new consumer separately
        // (<https://www.rabbitmq.com/docs/consumer-prefetch>).
        self.channel
            .basic_qos(window, BasicQosOptions::default())
            .await?;
        let consumer = self
            .channel
            .basic_consume(
                self.queue.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        self.consumer = Some(consumer);
        self.window_remaining = window;
        self.window_start = self.read_count + 1;
        Ok(())
    }

    /// Removes a message from the queue. Its consumer may then receive another message.
    pub(super) async fn ack(
        &mut self,
        position: u64,
        delivery: &Delivery,
    ) -> Result<(), MessagingError> {
        delivery.ack(BasicAckOptions::default()).await?;
        if position >= self.window_start {
            self.window_remaining += 1;
        }
        Ok(())
    }

    /// Requeues all messages that were not acknowledged, and closes the channel.
    pub(super) async fn requeue_and_close(self) -> Result<(), MessagingError> {
        Ok(self.channel.close(200, "done".into()).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// Waits on a consumer without a message. `ready` is the number of messages in the queue at
    /// each poll; the last number holds for all later polls.
    async fn wait_without_delivery(ready: &[u32]) -> NextMessage<u8> {
        let counts = RefCell::new(ready.iter().copied());
        let last = ready.last().copied().unwrap_or_default();
        let poll = || async { Ok::<_, Infallible>(counts.borrow_mut().next().unwrap_or(last)) };
        let Ok(next) = wait_for_next(&mut stream::pending(), poll).await;
        next
    }

    /// Regression: this was reported as a stalled broker.
    #[tokio::test(start_paused = true)]
    async fn wait_returns_drained_if_other_consumers_empty_the_queue() {
        let started_at = Instant::now();
        assert_eq!(wait_without_delivery(&[0, 0]).await, NextMessage::Drained);
        assert!(
            started_at.elapsed() < DELIVERY_TIMEOUT,
            "{:?}",
            started_at.elapsed()
        );
        assert_eq!(
            wait_without_delivery(&[3, 0, 0]).await,
            NextMessage::Drained
        );
        // The first empty poll is a message that is being delivered.
        assert_eq!(
            wait_without_delivery(&[0, 1, 0, 0]).await,
            NextMessage::Drained
        );
    }

    #[tokio::test(start_paused = true)]
    async fn wait_returns_stalled_if_a_non_empty_queue_delivers_nothing() {
        let started_at = Instant::now();
        assert_eq!(wait_without_delivery(&[2]).await, NextMessage::Stalled);
        assert!(
            started_at.elapsed() >= DELIVERY_TIMEOUT,
            "{:?}",
            started_at.elapsed()
        );
        assert_eq!(wait_without_delivery(&[0, 2]).await, NextMessage::Stalled);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_returns_a_delivered_message() {
        let poll = || async { Ok::<_, Infallible>(0) };
        let mut deliveries = stream::iter([7]);
        assert_eq!(
            wait_for_next(&mut deliveries, poll).await,
            Ok(NextMessage::Received(7))
        );
        // The broker ended the consumer.
        assert_eq!(
            wait_for_next(&mut deliveries, poll).await,
            Ok(NextMessage::Stalled)
        );
    }
}
