//! Publishing several messages with confirms, with the outcome of each one also after a failure.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dm_amqp::{OutgoingMessage, PublishOutcome};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use lapin::options::BasicPublishOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, ErrorKind};

use super::BrokerError;
use crate::fail_point;

/// Maximum time between two confirms. Every confirm restarts it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// Result of publishing several messages.
#[derive(Debug)]
pub(crate) struct PublishReport {
    /// The outcome of each message, in their order; `None` if it is unknown.
    pub outcomes: Vec<Option<PublishOutcome>>,
    /// The failure, if not all outcomes are known.
    pub failure: Option<PublishFailure>,
}

/// A failure because of which the outcome of some messages is unknown.
#[derive(Debug)]
pub(crate) enum PublishFailure {
    /// The broker closed the channel because of a message on it. The connection is open.
    ChannelClosed(String),
    /// The broker closed the connection because of a message on it.
    ConnectionClosed(String),
    /// The connection failed, or no confirm arrived in time: no message is the cause.
    ConnectionLost(BrokerError),
}

impl From<lapin::Error> for PublishFailure {
    fn from(error: lapin::Error) -> Self {
        let ErrorKind::ProtocolError(reason) = error.kind() else {
            return Self::ConnectionLost(error.into());
        };
        match reason.kind() {
            AMQPErrorKind::Soft(_) => Self::ChannelClosed(reason.to_string()),
            // Caused by an operator or by the broker itself.
            AMQPErrorKind::Hard(
                AMQPHardError::CONNECTIONFORCED
                | AMQPHardError::RESOURCEERROR
                | AMQPHardError::INTERNALERROR,
            ) => Self::ConnectionLost(error.into()),
            AMQPErrorKind::Hard(_) => Self::ConnectionClosed(reason.to_string()),
        }
    }
}

impl From<PublishFailure> for BrokerError {
    fn from(failure: PublishFailure) -> Self {
        match failure {
            PublishFailure::ChannelClosed(reason) | PublishFailure::ConnectionClosed(reason) => {
                Self::MessageRejected(reason)
            }
            PublishFailure::ConnectionLost(error) => error,
        }
    }
}

impl PublishReport {
    /// Returns the report for messages of which none could be sent.
    pub(super) fn unsent(count: usize, failure: PublishFailure) -> Self {
        Self {
            outcomes: vec![None; count],
            failure: Some(failure),
        }
    }
}

/// Publishes messages on a channel in confirm mode and waits for every confirm. A body
/// is dropped as soon as it is passed to the connection.
///
/// Only one caller at a time may use a channel, because a return is assigned to the caller
/// by its channel.
pub(super) async fn publish_on_channel(
    channel: &Channel,
    messages: Vec<OutgoingMessage>,
    blocked: &AtomicBool,
) -> PublishReport {
    let mut outcomes = vec![None; messages.len()];
    let mut ids: Vec<Option<ShortString>> = Vec::with_capacity(messages.len());
    let confirms = FuturesUnordered::new();
    let mut failure: Option<PublishFailure> = None;
    for (index, message) in messages.into_iter().enumerate() {
        ids.push(message.properties.message_id().clone());
        let options = BasicPublishOptions {
            mandatory: message.mandatory,
            ..BasicPublishOptions::default()
        };
        let publishing = channel.basic_publish(
            message.exchange.as_str().into(),
            message.routing_key.as_str().into(),
            options,
            &message.body,
            message.properties,
        );
        match with_confirm_timeout(blocked, publishing).await {
            Ok(Ok(confirm)) => confirms.push(async move { (index, confirm.await) }),
            Ok(Err(error)) => failure = Some(error.into()),
            Err(timeout) => failure = Some(PublishFailure::ConnectionLost(timeout)),
        }
        if failure.is_some() {
            break;
        }
    }
    fail_point::reached("publisher.sent").await;
    let mut returned = collect_confirms(confirms, blocked, &mut outcomes, &mut failure).await;
    if failure.is_none() {
        // A return precedes its confirm, so no return can follow these.
        match channel.wait_for_confirms().await {
            Ok(returns) => returned.extend(
                returns
                    .iter()
                    .map(|message| message.properties.message_id().clone()),
            ),
            Err(error) => failure = Some(error.into()),
        }
    }
    resolve_returned(&mut outcomes, &ids, &returned, failure.is_none());
    PublishReport { outcomes, failure }
}

/// Waits for the confirms of messages, each with the index of its message, and sets their
/// outcomes. Every confirm restarts the timeout. Returns the ids of returned messages.
async fn collect_confirms(
    mut confirms: impl Stream<Item = (usize, Result<Confirmation, lapin::Error>)> + Unpin,
    blocked: &AtomicBool,
    outcomes: &mut [Option<PublishOutcome>],
    failure: &mut Option<PublishFailure>,
) -> HashSet<Option<ShortString>> {
    let mut returned = HashSet::new();
    loop {
        match with_confirm_timeout(blocked, confirms.next()).await {
            Ok(Some((index, Ok(confirmation)))) => {
                let outcome = if confirmation.is_ack() {
                    PublishOutcome::Confirmed
                } else {
                    PublishOutcome::Nacked
                };
                outcomes[index] = Some(outcome);
                returned.extend(returned_message_id(confirmation));
            }
            Ok(Some((_, Err(error)))) => keep_root_failure(failure, error.into()),
            Ok(None) => return returned,
            Err(timeout) => {
                keep_root_failure(failure, PublishFailure::ConnectionLost(timeout));
                return returned;
            }
        }
    }
}

/// Returns the id of the returned message that a confirm carries. A return is attached to the
/// next confirm of the channel, so only its message id identifies the message.
fn returned_message_id(confirmation: Confirmation) -> Option<Option<ShortString>> {
    confirmation
        .take_message()
        .map(|message| message.properties.message_id().clone())
}

/// Keeps the most specific failure: the one with the reason for which the broker closed a
/// channel or the connection.
fn keep_root_failure(failure: &mut Option<PublishFailure>, other: PublishFailure) {
    if matches!(failure, None | Some(PublishFailure::ConnectionLost(_))) {
        *failure = Some(other);
    }
}

/// Separates returned messages from confirmed ones.
///
/// After a failure, the return of a confirmed message may be missing. This is only possible
/// if other returns arrived: the confirm of a returned message carries a return. In that case
/// the other confirmed messages count as unknown.
fn resolve_returned(
    outcomes: &mut [Option<PublishOutcome>],
    ids: &[Option<ShortString>],
    returned: &HashSet<Option<ShortString>>,
    complete: bool,
) {
    for (outcome, id) in outcomes.iter_mut().zip(ids) {
        if outcome.is_some() && returned.contains(id) {
            *outcome = Some(PublishOutcome::Returned);
        } else if *outcome == Some(PublishOutcome::Confirmed) && !complete && !returned.is_empty() {
            *outcome = None;
        }
    }
}

/// Waits until the broker responds, at most [`CONFIRM_TIMEOUT`]. While the connection is
/// blocked there is no limit; heartbeats detect a broker that is gone.
async fn with_confirm_timeout<T>(
    blocked: &AtomicBool,
    response: impl Future<Output = T>,
) -> Result<T, BrokerError> {
    let mut response = pin!(response);
    loop {
        match tokio::time::timeout(CONFIRM_TIMEOUT, &mut response).await {
            Ok(response) => return Ok(response),
            Err(_) if blocked.load(Ordering::Relaxed) => {}
            Err(_) => return Err(BrokerError::ConfirmTimeout(CONFIRM_TIMEOUT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<ShortString> {
        Some(text.into())
    }

    fn resolve(
        outcomes: &[Option<PublishOutcome>],
        returned: &[&str],
        complete: bool,
    ) -> Vec<Option<PublishOutcome>> {
        let ids: Vec<_> = (0..outcomes.len())
            .map(|index| id(&index.to_string()))
            .collect();
        let returned = returned.iter().map(|text| id(text)).collect();
        let mut outcomes = outcomes.to_vec();
        resolve_returned(&mut outcomes, &ids, &returned, complete);
        outcomes
    }

    #[test]
    fn outcomes_before_a_failure_are_kept() {
        let outcomes = [
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Nacked),
            None,
        ];
        assert_eq!(resolve(&outcomes, &[], false), outcomes);
    }

    #[test]
    fn returned_message_is_not_confirmed() {
        let outcomes = [
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Confirmed),
        ];
        assert_eq!(
            resolve(&outcomes, &["1"], true),
            [
                Some(PublishOutcome::Confirmed),
                Some(PublishOutcome::Returned)
            ]
        );
    }

    #[test]
    fn confirms_are_unknown_if_a_return_may_be_missing() {
        let outcomes = [
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Nacked),
            None,
        ];
        assert_eq!(
            resolve(&outcomes, &["1", "3"], false),
            [
                None,
                Some(PublishOutcome::Returned),
                Some(PublishOutcome::Nacked),
                None
            ]
        );
    }

    #[test]
    fn failure_with_the_brokers_reason_is_kept() {
        let lost = || PublishFailure::ConnectionLost(BrokerError::ConfirmTimeout(CONFIRM_TIMEOUT));
        let mut failure = None;
        keep_root_failure(&mut failure, lost());
        keep_root_failure(&mut failure, PublishFailure::ChannelClosed("no".into()));
        keep_root_failure(&mut failure, lost());
        assert!(matches!(failure, Some(PublishFailure::ChannelClosed(text)) if text == "no"));
    }

    #[tokio::test(start_paused = true)]
    async fn confirm_timeout_does_not_apply_to_a_blocked_connection() {
        let slow = || tokio::time::sleep(CONFIRM_TIMEOUT * 3);
        let blocked = AtomicBool::new(true);
        assert!(with_confirm_timeout(&blocked, slow()).await.is_ok());
        blocked.store(false, Ordering::Relaxed);
        assert!(with_confirm_timeout(&blocked, slow()).await.is_err());
    }

    /// Collects confirms that arrive at these times. Returns the outcomes and the failure.
    async fn collect(
        arrivals: &[Duration],
    ) -> (Vec<Option<PublishOutcome>>, Option<PublishFailure>) {
        let confirms: FuturesUnordered<_> = arrivals
            .iter()
            .enumerate()
            .map(|(index, &arrival)| async move {
                tokio::time::sleep(arrival).await;
                (index, Ok(Confirmation::Ack(None)))
            })
            .collect();
        let blocked = AtomicBool::new(false);
        let mut outcomes = vec![None; arrivals.len()];
        let mut failure = None;
        collect_confirms(confirms, &blocked, &mut outcomes, &mut failure).await;
        (outcomes, failure)
    }

    #[tokio::test(start_paused = true)]
    async fn each_confirm_restarts_the_confirm_timeout() {
        let interval = CONFIRM_TIMEOUT - Duration::from_secs(1);
        let arrivals = [1, 2, 3, 4].map(|number| interval * number);
        let (outcomes, failure) = collect(&arrivals).await;
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(outcomes, [Some(PublishOutcome::Confirmed); 4]);

        let late = interval + CONFIRM_TIMEOUT + Duration::from_secs(1);
        let (outcomes, failure) = collect(&[interval, late]).await;
        assert!(
            matches!(
                failure,
                Some(PublishFailure::ConnectionLost(BrokerError::ConfirmTimeout(
                    _
                )))
            ),
            "{failure:?}"
        );
        assert_eq!(outcomes, [Some(PublishOutcome::Confirmed), None]);
    }
}
