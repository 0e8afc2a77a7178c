//! Reads a dead-letter queue and leaves it as it was.
//!
//! What is read is never acknowledged unless somebody says so, and goes back to its
//! place when the channel closes, or when the process is killed: dead-letter queues are
//! classic queues, where neither a body nor a header nor the order changes by that. A
//! consumer is given a bounded number of messages, and the next ones come by another
//! consumer of the same channel, so that memory is bounded whatever the queue's depth. What
//! others take out meanwhile is not waited for. Quorum queues, which work queues are, count
//! deliveries, and are read in another way ([`super::browse`]).

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

/// How many messages wait here at most.
const PREFETCH_WINDOW: u16 = 2_000;
/// How long the broker may take for the next message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without one it is looked whether there is one.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often in a row there must be none: one that is on its way here is no longer counted.
const MAX_EMPTY_POLLS: usize = 2;

/// What a consumer comes to.
#[derive(Debug, PartialEq, Eq)]
enum NextMessage<T> {
    /// It gave this.
    Received(T),
    /// There is nothing more that it could give: others have taken the rest out.
    Drained,
    /// It gives nothing, and there is something.
    Stalled,
}

/// Waits for the next message of a consumer. `waiting` counts the messages in the queue.
async fn wait_for_next<T, E, W>(
    consumer: &mut (impl Stream<Item = T> + Unpin),
    ready_count: impl Fn() -> W,
) -> Result<NextMessage<T>, E>
where
    W: Future<Output = Result<u32, E>>,
{
    let (began, mut looks) = (Instant::now(), 0);
    loop {
        match tokio::time::timeout(POLL_INTERVAL, consumer.next()).await {
            Ok(Some(given)) => return Ok(NextMessage::Received(given)),
            Ok(None) => return Ok(NextMessage::Stalled),
            Err(_) if began.elapsed() > DELIVERY_TIMEOUT => return Ok(NextMessage::Stalled),
            Err(_) => {}
        }
        looks = if ready_count().await? == 0 {
            looks + 1
        } else {
            0
        };
        if looks == MAX_EMPTY_POLLS {
            return Ok(NextMessage::Drained);
        }
    }
}

/// A pass over the messages that are in a queue now.
pub(super) struct QueueBrowser {
    queue: String,
    channel: Channel,
    consumer: Option<Consumer>,
    /// What the open consumer may still give: its window without what is held.
    window_remaining: u16,
    /// The place of the first message that the open consumer gave.
    window_start: u64,
    read_count: u64,
    expected_count: u64,
}

impl QueueBrowser {
    /// Begins a pass over a queue.
    pub(super) async fn open(connection: &Connection, queue: &str) -> Result<Self, MessagingError> {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?;
        Ok(Self {
            expected_count: found.message_count().into(),
            queue: queue.to_owned(),
            channel,
            consumer: None,
            window_remaining: 0,
            window_start: 1,
            read_count: 0,
        })
    }

    /// The next one with its place, from 1; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Delivery)>, MessagingError> {
        if self.read_count == self.expected_count {
            return Ok(None);
        }
        if self.window_remaining == 0 {
            self.open_next_window().await?;
        }
        let Some(delivery) = self.next_delivery().await? else {
            // Others have taken the rest out.
            self.expected_count = self.read_count;
            return Ok(None);
        };
        self.window_remaining -= 1;
        self.read_count += 1;
        Ok(Some((self.read_count, delivery?)))
    }

    /// What the open consumer gives next; `None` where the queue has nothing more to give.
    async fn next_delivery(
        &mut self,
    ) -> Result<Option<Result<Delivery, lapin::Error>>, MessagingError> {
        let Some(consumer) = &mut self.consumer else {
            return Ok(None);
        };
        // What is held here is not counted.
        let waiting = || queues::ready_count(&self.channel, &self.queue);
        match wait_for_next(consumer, waiting).await? {
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

    /// Takes the next portion, by a consumer of its own.
    async fn open_next_window(&mut self) -> Result<(), MessagingError> {
        if let Some(consumer) = self.consumer.take() {
            // All of its window is held here: it has given nothing that was not read.
            self.channel
                .basic_cancel(consumer.tag(), BasicCancelOptions::default())
                .await?;
        }
        let rest = self.expected_count - self.read_count;
        let portion = u16::try_from(rest).map_or(PREFETCH_WINDOW, |rest| rest.min(PREFETCH_WINDOW));
        // Counts for each consumer by itself, from the next one on
        // (<https://www.rabbitmq.com/docs/consumer-prefetch>).
        self.channel
            .basic_qos(portion, BasicQosOptions::default())
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
        self.window_remaining = portion;
        self.window_start = self.read_count + 1;
        Ok(())
    }

    /// Takes a message out of the queue for good. Its consumer may then give another one
    /// for it.
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

    /// Gives everything back that was not taken.
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

    /// A consumer without a message. `waiting` is the number of messages in the queue at each
    /// poll; the last number holds for all later polls.
    async fn silent(waiting: &[u32]) -> NextMessage<u8> {
        let looks = RefCell::new(waiting.iter().copied());
        let last = waiting.last().copied().unwrap_or_default();
        let look = || async { Ok::<_, Infallible>(looks.borrow_mut().next().unwrap_or(last)) };
        let Ok(next) = wait_for_next(&mut stream::pending(), look).await;
        next
    }

    /// It used to be taken for a broker that had stalled.
    #[tokio::test(start_paused = true)]
    async fn what_others_take_out_meanwhile_ends_a_pass() {
        let began = Instant::now();
        assert_eq!(silent(&[0, 0]).await, NextMessage::Drained);
        assert!(began.elapsed() < DELIVERY_TIMEOUT, "{:?}", began.elapsed());
        assert_eq!(silent(&[3, 0, 0]).await, NextMessage::Drained);
        // The first of these is on its way here.
        assert_eq!(silent(&[0, 1, 0, 0]).await, NextMessage::Drained);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_has_messages_and_gives_none_has_stalled() {
        let began = Instant::now();
        assert_eq!(silent(&[2]).await, NextMessage::Stalled);
        assert!(began.elapsed() >= DELIVERY_TIMEOUT, "{:?}", began.elapsed());
        assert_eq!(silent(&[0, 2]).await, NextMessage::Stalled);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_is_given() {
        let look = || async { Ok::<_, Infallible>(0) };
        let mut given = stream::iter([7]);
        assert_eq!(
            wait_for_next(&mut given, look).await,
            Ok(NextMessage::Received(7))
        );
        // The broker ended the consumer.
        assert_eq!(
            wait_for_next(&mut given, look).await,
            Ok(NextMessage::Stalled)
        );
    }
}
