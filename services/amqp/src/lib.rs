//! AMQP as the services and `dm` speak it: connections, and publishing with confirms.
//!
//! A crate of its own for two reasons. Both need the same care about returns and
//! confirms. And `lapin`'s connection is generic over the runtime, so that all that takes
//! frames apart is compiled where the connection is made: here, optimised in every
//! profile.
//!
//! ```text
//! event      the message of an event
//! header     headers, read and added
//! original   what a copy of a message can't carry at its own place
//! letter     which dead letter a message is
//! backoff    pauses between attempts
//! supervise  sessions that are set up again when they break
//! ```

mod backoff;
mod event_properties;
pub mod header;
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

/// Marks a message that survives a restart of the broker.
const DELIVERY_MODE_PERSISTENT: u8 = 2;

/// A connection that the broker shows under a name.
///
/// # Errors
/// The broker is away, or refuses.
pub async fn connect(uri: &str, name: &str) -> Result<Connection, Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(uri, properties).await
}

/// As [`connect`], with a URI that is not text.
///
/// # Errors
/// The broker is away, or refuses.
pub async fn connect_uri(uri: AMQPUri, name: &str) -> Result<Connection, Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(uri, properties).await
}

/// The URI of a virtual host for a user. User, password and virtual host may hold any
/// character: as text the URI has them percent-encoded. The virtual hosts `.` and `..`
/// have no text, since readers of URIs resolve them as path segments, encoded or not
/// (<https://url.spec.whatwg.org/#double-dot-path-segment>): connect to them with
/// [`connect_to`].
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

/// A message on its way.
#[derive(Debug, Clone)]
pub struct OutgoingMessage {
    /// The exchange; the default one where it is empty.
    pub exchange: String,
    /// The routing key: the queue's name on the default exchange.
    pub routing_key: String,
    /// Whether it is a fault if no queue takes it.
    pub mandatory: bool,
    /// Its properties, an id among them: without one a return can't be told from another.
    pub properties: BasicProperties,
    /// Its body.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker has it.
    Confirmed,
    /// No queue takes it, though one should.
    Returned,
    /// A queue refused it.
    Nacked,
}

/// Messages that were sent on a channel, and whose confirms are yet to come.
#[derive(Debug)]
pub struct PendingConfirms {
    confirms: Vec<(Option<ShortString>, lapin::PublisherConfirm)>,
}

/// Sends messages on a channel in confirm mode. Only one caller at a time may make use of
/// a channel, because returns are told from others by their channel.
///
/// # Errors
/// The connection broke: some of them may be on their way.
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
    /// Waits for every confirm. The outcomes are in the order of the messages.
    ///
    /// # Errors
    /// The connection broke: the broker may have some of them.
    pub async fn wait_for_confirms(self, channel: &Channel) -> Result<Vec<PublishOutcome>, Error> {
        let mut acknowledged = Vec::with_capacity(self.confirms.len());
        let mut returned: HashSet<Option<ShortString>> = HashSet::new();
        for (id, confirm) in self.confirms {
            let confirmation: Confirmation = confirm.await?;
            acknowledged.push((id, confirmation.is_ack()));
            // A return is attached to whichever confirm comes next: only its own
            // message id says whose it is.
            returned.extend(
                confirmation
                    .take_message()
                    .map(|message| message.properties.message_id().clone()),
            );
        }
        // A return precedes its confirm, so that these are the last of them.
        let rest = channel.wait_for_confirms().await?;
        returned.extend(
            rest.iter()
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_password_survives_the_uri(
            user in "[a-z][a-z-]{0,12}",
            password in r"[ -~äß€漢🔑]{1,40}",
            vhost in r"[ -~ü]{1,12}",
        ) {
            // Neither has a text: see `uri`.
            prop_assume!(vhost != "." && vhost != "..");
            let uri = build_uri(&user, &password, "rabbitmq", 5672, &vhost);
            let read: AMQPUri = uri.to_string().parse().unwrap();
            prop_assert_eq!(read, uri);
        }
    }

    #[test]
    fn what_means_something_in_a_uri_means_nothing_in_a_password() {
        for password in [
            " ", "+", "%", "%20", "%2B", "@", ":", "/", "a b", "a+b", "a%b", "a@b:c/d", "?x=y#z",
            "[::1]", "\\", "\"'", "&&", "%%%",
        ] {
            let uri = build_uri("dunder", password, "rabbitmq", 5672, "/");
            let text = uri.to_string();
            let read: AMQPUri = text.parse().unwrap();
            assert_eq!(read.authority.userinfo.password, password, "{text}");
            assert_eq!(read.authority.host, "rabbitmq", "{text}");
            assert_eq!(read.vhost, "/", "{text}");
        }
    }
}
