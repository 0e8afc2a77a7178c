//! Reads a dead-letter queue and leaves it as it was.
//!
//! What is read is never acknowledged unless somebody says so, and goes back to its
//! place when the channel closes, or when the process is killed: dead-letter queues are
//! classic queues, where neither a body nor a header nor the order changes by that. A
//! consumer is given a bounded number of messages, and the next ones come by another
//! consumer of the same channel, so that memory is bounded whatever the queue's depth. What
//! others take out meanwhile is not waited for. Quorum queues, which work queues are, count
//! deliveries, and are read in another way ([`super::browse`]).

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};

use crate::messaging::{MessagingError, queues};

/// How many messages wait here at most.
const PORTION: u16 = 2_000;
/// How long the broker may take for the next message.
const PATIENCE: Duration = Duration::from_secs(10);
/// After how long without one it is looked whether there is one.
const LOOK: Duration = Duration::from_millis(500);
/// How often in a row there must be none: one that is on its way here is no longer counted.
const LOOKS: usize = 2;

/// A pass over the messages that are in a queue now.
pub(super) struct Reader {
    queue: String,
    channel: Channel,
    consumer: Option<Consumer>,
    /// What the open consumer may still give: its window without what is held.
    left: u16,
    /// The place of the first message that the open consumer gave.
    since: u64,
    read: u64,
    expected: u64,
}

impl Reader {
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
            expected: found.message_count().into(),
            queue: queue.to_owned(),
            channel,
            consumer: None,
            left: 0,
            since: 1,
            read: 0,
        })
    }

    /// The next one with its place, from 1; `None` after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Delivery)>, MessagingError> {
        if self.read == self.expected {
            return Ok(None);
        }
        if self.left == 0 {
            self.go_on().await?;
        }
        let Some(delivery) = self.delivery().await? else {
            // Others have taken the rest out.
            self.expected = self.read;
            return Ok(None);
        };
        self.left -= 1;
        self.read += 1;
        Ok(Some((self.read, delivery?)))
    }

    /// What the open consumer gives next; `None` where the queue has nothing more to give.
    async fn delivery(&mut self) -> Result<Option<Result<Delivery, lapin::Error>>, MessagingError> {
        let (began, mut looks) = (Instant::now(), 0);
        let Some(consumer) = &mut self.consumer else {
            return Ok(None);
        };
        loop {
            match tokio::time::timeout(LOOK, consumer.next()).await {
                Ok(Some(delivery)) => return Ok(Some(delivery)),
                Ok(None) => break,
                Err(_) if began.elapsed() > PATIENCE => break,
                Err(_) => {}
            }
            // What is held here is not counted.
            let waiting = queues::ready(&self.channel, &self.queue).await?;
            looks = if waiting == 0 { looks + 1 } else { 0 };
            if looks == LOOKS {
                return Ok(None);
            }
        }
        Err(MessagingError::Stalled {
            queue: self.queue.clone(),
            read: self.read,
            expected: self.expected,
            patience: PATIENCE,
        })
    }

    /// Takes the next portion, by a consumer of its own.
    async fn go_on(&mut self) -> Result<(), MessagingError> {
        if let Some(consumer) = self.consumer.take() {
            // All of its window is held here: it has given nothing that was not read.
            self.channel
                .basic_cancel(consumer.tag(), BasicCancelOptions::default())
                .await?;
        }
        let rest = self.expected - self.read;
        let portion = u16::try_from(rest).map_or(PORTION, |rest| rest.min(PORTION));
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
        self.left = portion;
        self.since = self.read + 1;
        Ok(())
    }

    /// Takes a message out of the queue for good. Its consumer may then give another one
    /// for it.
    pub(super) async fn take(
        &mut self,
        position: u64,
        delivery: &Delivery,
    ) -> Result<(), MessagingError> {
        delivery.ack(BasicAckOptions::default()).await?;
        if position >= self.since {
            self.left += 1;
        }
        Ok(())
    }

    /// Gives everything back that was not taken.
    pub(super) async fn close(self) -> Result<(), MessagingError> {
        Ok(self.channel.close(200, "done".into()).await?)
    }
}
