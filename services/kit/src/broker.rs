//! The broker: connections, and publishing with confirms.

mod confirms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) use confirms::{PublishFailure, PublishReport};
use dm_amqp::header;
pub(crate) use dm_amqp::{OutgoingMessage, PublishOutcome};
use futures_util::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::{BasicProperties, Channel, Connection, Event};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::environment::Environment;

/// How long to wait for the broker's goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the broker is, and who asks: `RABBITMQ_*`.
#[derive(Debug, Clone)]
pub(crate) struct BrokerConnector {
    host: String,
    port: u16,
    vhost: String,
    user: String,
    password: String,
    service: String,
}

/// Why the broker could not be used.
#[derive(Debug, Error)]
pub(crate) enum BrokerError {
    /// The connection broke, or was never made.
    #[error("could not communicate with RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),
    /// It took too long.
    #[error("RabbitMQ confirmed no message for {} s", .0.as_secs())]
    ConfirmTimeout(Duration),
    /// It closed the channel or the connection because of a message.
    #[error("RabbitMQ refused a message: {0}")]
    MessageRejected(String),
}

impl BrokerConnector {
    /// The broker of the environment.
    #[must_use]
    pub(crate) fn from_env(environment: &mut Environment, service: &str) -> Self {
        Self {
            host: environment.text_or("RABBITMQ_HOST", "rabbitmq"),
            port: environment.get("RABBITMQ_AMQP_PORT", 5672),
            vhost: environment.text_or("RABBITMQ_VHOST", "/"),
            user: environment.text_or("RABBITMQ_DEFAULT_USER", "dunder"),
            password: environment.secret("RABBITMQ_DEFAULT_PASS"),
            service: service.to_owned(),
        }
    }

    /// A new connection. Its peer's silence is noticed after two heartbeats.
    ///
    /// # Errors
    /// [`BrokerError::Amqp`] where the broker is away or refuses.
    pub(crate) async fn connect(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let (host, vhost) = (&self.host, &self.vhost);
        let mut uri = dm_amqp::build_uri(&self.user, &self.password, host, self.port, vhost);
        uri.query.heartbeat = Some(5);
        uri.query.connection_timeout = Some(5000);
        let name = format!("{} {purpose}", self.service);
        Ok(dm_amqp::connect_uri(uri, &name).await?)
    }

    /// A connection for publishing alone, with so many channels: the broker blocks
    /// those connections when it runs out of memory or disk, and consumers have to go
    /// on.
    ///
    /// # Errors
    /// [`BrokerError::Amqp`] where the broker is away or refuses.
    pub(crate) async fn open_publisher(
        &self,
        purpose: &str,
        channels: usize,
    ) -> Result<Publisher, BrokerError> {
        let connection = self.connect(purpose).await?;
        let blocked = Arc::new(AtomicBool::new(false));
        let mut events = Box::pin(connection.events_listener());
        let flag = Arc::clone(&blocked);
        tokio::spawn(async move {
            // Ends with the connection.
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(reason) => {
                        warn!(reason, "RabbitMQ blocks publishing");
                        flag.store(true, Ordering::Relaxed);
                    }
                    Event::ConnectionUnblocked => {
                        info!("RabbitMQ accepts messages again");
                        flag.store(false, Ordering::Relaxed);
                    }
                    Event::Error(_) => break,
                    _ => {}
                }
            }
        });
        let mut opened = Vec::with_capacity(channels);
        for _ in 0..channels {
            opened.push(Mutex::new(open_confirm_channel(&connection).await?));
        }
        Ok(Publisher {
            connection,
            channels: opened,
            blocked,
        })
    }
}

/// A channel with confirms.
async fn open_confirm_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// Channels with confirms, on a connection of their own.
#[derive(Debug)]
pub(crate) struct Publisher {
    connection: Connection,
    /// One caller at a time uses a channel: returns are told from others by their channel.
    channels: Vec<Mutex<Channel>>,
    blocked: Arc<AtomicBool>,
}

impl Publisher {
    /// Whether the broker has asked for silence.
    #[must_use]
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Whether the connection still stands, as far as is known. A channel that the broker
    /// closed is opened again when it is used next.
    #[must_use]
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Publishes all of them at once and waits for every confirm. The outcomes
    /// are in the order of the messages.
    ///
    /// # Errors
    /// [`BrokerError`] where the connection broke, the broker is silent, or closed the
    /// channel: then it may have some of them, and each is to be published again with
    /// the same id.
    pub(crate) async fn publish(
        &self,
        messages: &[OutgoingMessage],
    ) -> Result<Vec<PublishOutcome>, BrokerError> {
        let PublishReport { outcomes, failure } = self.publish_batch(0, messages.to_vec()).await;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// The same on one of the channels, counted from 0 and round, with what is known of
    /// each message where something breaks. While one channel waits for its confirms
    /// another sends.
    pub(crate) async fn publish_batch(
        &self,
        channel: usize,
        messages: Vec<OutgoingMessage>,
    ) -> PublishReport {
        let mut channel = self.channels[channel % self.channels.len()].lock().await;
        if !channel.status().connected() {
            match open_confirm_channel(&self.connection).await {
                Ok(opened) => *channel = opened,
                Err(error) => {
                    let failure = PublishFailure::ConnectionLost(error.into());
                    return PublishReport::unsent(messages.len(), failure);
                }
            }
        }
        confirms::publish_on_channel(&channel, messages, &self.blocked).await
    }

    /// Takes leave of the broker, which may be gone without a word.
    pub(crate) async fn close(&self) {
        let goodbye = self.connection.close(200, "done".into());
        // Whoever closes has no use for the answer.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

/// The id of a message; nothing where it has none.
#[must_use]
pub(crate) fn message_id(properties: &BasicProperties) -> &str {
    let id = properties.message_id().as_ref();
    id.map_or("", |id| id.as_str())
}

/// The text of a header, where there is one.
#[must_use]
pub(crate) fn header_text(properties: &BasicProperties, name: &str) -> Option<String> {
    header::get_text(properties.headers().as_ref()?, name)
}
