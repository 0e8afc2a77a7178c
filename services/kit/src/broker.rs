//! Connections to RabbitMQ, and publishing with confirms.

mod confirms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) use confirms::{PublishFailure, PublishReport};
use dm_amqp::header_value;
pub(crate) use dm_amqp::{OutgoingMessage, PublishOutcome};
use futures_util::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::{BasicProperties, Channel, Connection, Event};
use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::environment::Environment;

/// Timeout for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Address and credentials of the broker: `RABBITMQ_*`.
#[derive(Debug, Clone)]
pub(crate) struct BrokerConnector {
    host: String,
    port: u16,
    vhost: String,
    user: String,
    password: String,
    service: String,
}

/// An error of the broker.
#[derive(Debug, Error)]
pub(crate) enum BrokerError {
    /// The connection failed, or could not be opened.
    #[error("could not communicate with RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),
    /// No confirm arrived in time.
    #[error("RabbitMQ confirmed no message for {} s", .0.as_secs())]
    ConfirmTimeout(Duration),
    /// The broker closed the channel or the connection because of a message.
    #[error("RabbitMQ refused a message: {0}")]
    MessageRejected(String),
}

impl BrokerConnector {
    /// Reads address and credentials from the environment.
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

    /// Opens a connection. A peer that stops responding is noticed after two heartbeats.
    ///
    /// # Errors
    /// Returns [`BrokerError::Amqp`] if the broker is unreachable or refuses the connection.
    pub(crate) async fn connect(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let (host, vhost) = (&self.host, &self.vhost);
        let mut uri = dm_amqp::build_uri(&self.user, &self.password, host, self.port, vhost);
        uri.query.heartbeat = Some(5);
        uri.query.connection_timeout = Some(5000);
        let name = format!("{} {purpose}", self.service);
        Ok(dm_amqp::connect_uri(uri, &name).await?)
    }

    /// Opens a connection that only publishes, with this number of channels. The broker blocks
    /// publishing connections when it runs out of memory or disk, and consumers must not be
    /// blocked.
    ///
    /// # Errors
    /// Returns [`BrokerError::Amqp`] if the broker is unreachable or refuses the connection.
    pub(crate) async fn open_publisher(
        &self,
        purpose: &str,
        channels: usize,
    ) -> Result<Publisher, BrokerError> {
        let connection = self.connect(purpose).await?;
        let blocked = Arc::new(AtomicBool::new(false));
        let mut events = Box::pin(connection.events_listener());
        let is_blocked = Arc::clone(&blocked);
        tokio::spawn(async move {
            // Ends with the connection.
            while let Some(event) = events.next().await {
                match event {
                    Event::ConnectionBlocked(reason) => {
                        warn!(reason, "RabbitMQ blocked the publishing connection");
                        is_blocked.store(true, Ordering::Relaxed);
                    }
                    Event::ConnectionUnblocked => {
                        info!("RabbitMQ unblocked the publishing connection");
                        is_blocked.store(false, Ordering::Relaxed);
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

/// Opens a channel in confirm mode.
async fn open_confirm_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// Channels in confirm mode, on a separate connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    connection: Connection,
    /// Only one caller at a time uses a channel: a return is assigned to the caller by its
    /// channel.
    channels: Vec<Mutex<Channel>>,
    blocked: Arc<AtomicBool>,
}

impl Publisher {
    /// Returns whether the broker has blocked the connection.
    #[must_use]
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Returns whether the connection is open, as far as is known. A channel that the broker
    /// closed is opened again on its next use.
    #[must_use]
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Publishes all messages at once and waits for every confirm. The outcomes are in the
    /// order of the messages.
    ///
    /// # Errors
    /// Returns [`BrokerError`] if the connection fails, if no confirm arrives in time, or if the
    /// broker closes the channel. Some messages may have been accepted: all must be published
    /// again with the same ids.
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

    /// Publishes messages on one of the channels, given by its index modulo their number. If the
    /// publication fails, the report contains the outcomes that are known. While one channel
    /// waits for its confirms, another one sends.
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

    /// Closes the connection. Waits only for a short time, since the broker may be gone.
    pub(crate) async fn close(&self) {
        let closing = self.connection.close(200, "done".into());
        // The result does not matter: the connection is not used again.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

/// Returns the id of a message, or an empty text.
#[must_use]
pub(crate) fn message_id(properties: &BasicProperties) -> &str {
    let id = properties.message_id().as_ref();
    id.map_or("", |id| id.as_str())
}

/// Returns the text of a header, if the message has it.
#[must_use]
pub(crate) fn header_text(properties: &BasicProperties, name: &str) -> Option<String> {
    header_value::get_text(properties.headers().as_ref()?, name)
}
