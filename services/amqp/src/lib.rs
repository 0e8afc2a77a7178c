//! AMQP for the services and `dm`: connections, and publishing with confirms.
//!
//! A separate crate for two reasons. Services and `dm` need the same handling of returns and
//! confirms. And `lapin`'s connection is generic over the runtime, so the frame parser is
//! compiled in the crate that opens the connection: here, optimised in every profile.
//!
//! ```text
//! event_properties   the message properties of an event
//! header_value       reading and adding headers
//! original           properties that a copy of a message cannot carry in their own fields
//! letter_id          the letter id of a dead letter
//! backoff            delays between attempts
//! supervise          restarting sessions that fail
//! ```

mod backoff;
mod event_properties;
pub mod header_value;
pub mod letter_id;
mod original;
mod supervise;

pub use backoff::Backoff;
pub use event_properties::EventProperties;
pub use original::{OriginalMessage, PublishTarget};
pub use supervise::supervise;

use std::collections::HashSet;

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::uri::{AMQPAuthority, AMQPUri, AMQPUserInfo};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Error};

/// The delivery mode of messages that survive a restart of the broker.
const DELIVERY_MODE_PERSISTENT: u8 = 2;

/// Opens a connection that the broker lists under `name`.
///
/// # Errors
/// Returns [`lapin::Error`] if the broker cannot be reached or refuses the connection.
pub async fn connect(uri: &str, name: &str) -> Result<Connection, Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(uri, properties).await
}

/// Like [`connect`], with a parsed URI.
///
/// # Errors
/// Returns [`lapin::Error`] if the broker cannot be reached or refuses the connection.
pub async fn connect_uri(uri: AMQPUri, name: &str) -> Result<Connection, Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(uri, properties).await
}

/// Returns the URI of a virtual host for a user. User, password and virtual host may contain
/// any character: the text of the URI percent-encodes them. The virtual hosts `.` and `..`
/// cannot be written as text, since URI parsers resolve them as path segments, encoded or not
/// (<https://url.spec.whatwg.org/#double-dot-path-segment>): connect to them with
/// [`connect_uri`].
#[must_use]
pub fn build_uri(user: &str, password: &str, host: &str, port: u16, vhost: &str) -> AMQPUri {
    AMQPUri {
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: user.to_owned(),
                password: password.to_owned(),
            },
            host: host.to_owned(),
            port,
        },
        vhost: vhost.to_owned(),
        ..AMQPUri::default()
    }
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct OutgoingMessage {
    /// The exchange. Empty for the default exchange.
    pub exchange: String,
    /// The routing key. On the default exchange it is the name of a queue.
    pub routing_key: String,
    /// Whether the broker returns the message if no queue is bound to its routing key.
    pub mandatory: bool,
    /// The properties. They contain a message id, which identifies the message in a return.
    pub properties: BasicProperties,
    /// The body.
    pub body: Vec<u8>,
}

/// The result of publishing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker confirmed it (`basic.ack`).
    Confirmed,
    /// No queue is bound to its routing key, and it is mandatory (`basic.return`).
    Returned,
    /// A queue refused it (`basic.nack`).
    Nacked,
}

/// Messages that were published on a channel and await their confirms.
#[derive(Debug)]
pub struct PendingConfirms {
    confirms: Vec<(Option<ShortString>, lapin::PublisherConfirm)>,
}

/// Publishes messages on a channel in confirm mode. Only one caller at a time may use the
/// channel, because returns are attributed by channel.
///
/// # Errors
/// Returns [`lapin::Error`] if the connection breaks. Some of the messages may have been published.
pub async fn publish(
    channel: &Channel,
    messages: &[OutgoingMessage],
) -> Result<PendingConfirms, Error> {
    let mut confirms = Vec::with_capacity(messages.len());
    for message in messages {
        let options = BasicPublishOptions {
            mandatory: message.mandatory,
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
        confirms.push((message.properties.message_id().clone(), confirm));
    }
    Ok(PendingConfirms { confirms })
}

impl PendingConfirms {
    /// Waits for every confirm and returns the outcomes in the order of the messages.
    ///
    /// # Errors
    /// Returns [`lapin::Error`] if the connection breaks. The broker may have some of the messages.
    pub async fn wait_for_confirms(self, channel: &Channel) -> Result<Vec<PublishOutcome>, Error> {
        let mut acknowledged = Vec::with_capacity(self.confirms.len());
        let mut returned: HashSet<Option<ShortString>> = HashSet::new();
        for (id, confirm) in self.confirms {
            let confirmation: Confirmation = confirm.await?;
            acknowledged.push((id, confirmation.is_ack()));
            // A return is attached to whichever confirm comes next: only its message id
            // identifies the message.
            returned.extend(
                confirmation
                    .take_message()
                    .map(|message| message.properties.message_id().clone()),
            );
        }
        // A return precedes its confirm, so these are the last returns.
        let remaining = channel.wait_for_confirms().await?;
        returned.extend(
            remaining
                .iter()
                .map(|message| message.properties.message_id().clone()),
        );
        Ok(acknowledged
            .into_iter()
            .map(|(id, acknowledged)| {
                if returned.contains(&id) {
                    PublishOutcome::Returned
                } else if acknowledged {
                    PublishOutcome::Confirmed
                } else {
                    PublishOutcome::Nacked
                }
            })
            .collect())
    }
}

#[cfg(test)]
mod server_tests;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn uri_text_round_trips_any_user_password_and_vhost(
            user in "[a-z][a-z-]{0,12}",
            password in r"[ -~äß€漢🔑]{1,40}",
            vhost in r"[ -~ü]{1,12}",
        ) {
            // Neither can be written as text: see `build_uri`.
            prop_assume!(vhost != "." && vhost != "..");
            let uri = build_uri(&user, &password, "rabbitmq", 5672, &vhost);
            let parsed: AMQPUri = uri.to_string().parse().unwrap();
            prop_assert_eq!(parsed, uri);
        }
    }

    #[test]
    fn uri_escapes_reserved_characters_in_the_password() {
        for password in [
            " ", "+", "%", "%20", "%2B", "@", ":", "/", "a b", "a+b", "a%b", "a@b:c/d", "?x=y#z",
            "[::1]", "\\", "\"'", "&&", "%%%",
        ] {
            let uri = build_uri("dunder", password, "rabbitmq", 5672, "/");
            let text = uri.to_string();
            let parsed: AMQPUri = text.parse().unwrap();
            assert_eq!(parsed.authority.userinfo.password, password, "{text}");
            assert_eq!(parsed.authority.host, "rabbitmq", "{text}");
            assert_eq!(parsed.vhost, "/", "{text}");
        }
    }
}
