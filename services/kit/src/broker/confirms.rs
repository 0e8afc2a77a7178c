//! Messages that are published together, and what is known of each when something breaks.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dm_amqp::{OutgoingMessage, PublishOutcome};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, ErrorKind};

use super::BrokerError;
use crate::fail_point;

/// How long the broker may be silent while confirms are due. Every confirm begins it anew.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// What became of a part.
#[derive(Debug)]
pub(crate) struct PublishReport {
    /// For each message, in their order: `None` where the broker did not say.
    pub outcomes: Vec<Option<PublishOutcome>>,
    /// Why not all of them are known.
    pub failure: Option<PublishFailure>,
}

/// Why the broker did not say what became of every message.
#[derive(Debug)]
pub(crate) enum PublishFailure {
    /// It closed the channel because of a message on it. The connection stands.
    ChannelClosed(String),
    /// It closed the connection because of a message on it.
    ConnectionClosed(String),
    /// The connection is gone, or the broker is silent: no message is at fault.
    ConnectionLost(BrokerError),
}

impl From<lapin::Error> for PublishFailure {
    fn from(error: lapin::Error) -> Self {
        let ErrorKind::ProtocolError(reason) = error.kind() else {
            return Self::ConnectionLost(error.into());
        };
        match reason.kind() {
            AMQPErrorKind::Soft(_) => Self::ChannelClosed(reason.to_string()),
            // An operator's doing, or the broker's own trouble.
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
    /// The report on messages of which none could be sent.
    pub(super) fn unsent(count: usize, failure: PublishFailure) -> Self {
        Self {
            outcomes: vec![None; count],
            failure: Some(failure),
        }
    }
}

/// Publishes messages on a channel in confirm mode and waits for every confirm. A body
/// is dropped as soon as the connection has it.
///
/// Only one caller at a time may use a channel, because returns are told from others by
/// their channel.
pub(super) async fn publish_on_channel(
    channel: &Channel,
    messages: Vec<OutgoingMessage>,
    blocked: &AtomicBool,
) -> PublishReport {
    let mut outcomes = vec![None; messages.len()];
    let mut ids: Vec<Option<ShortString>> = Vec::with_capacity(messages.len());
    let mut confirms = FuturesUnordered::new();
    let mut failure: Option<PublishFailure> = None;
    for (at, message) in messages.into_iter().enumerate() {
        ids.push(message.properties.message_id().clone());
        let options = BasicPublishOptions {
            mandatory: message.mandatory,
            ..BasicPublishOptions::default()
        };
        let sent = channel.basic_publish(
            message.exchange.as_str().into(),
            message.routing_key.as_str().into(),
            options,
            &message.body,
            message.properties,
        );
        match with_confirm_timeout(blocked, sent).await {
            Ok(Ok(confirm)) => confirms.push(async move { (at, confirm.await) }),
            Ok(Err(error)) => failure = Some(error.into()),
            Err(silent) => failure = Some(PublishFailure::ConnectionLost(silent)),
        }
        if failure.is_some() {
            break;
        }
    }
    fail_point::reached("publisher.sent").await;
    let mut returned: HashSet<Option<ShortString>> = HashSet::new();
    loop {
        match with_confirm_timeout(blocked, confirms.next()).await {
            Ok(Some((at, Ok(confirmation)))) => {
                let outcome = if confirmation.is_ack() {
                    PublishOutcome::Confirmed
                } else {
                    PublishOutcome::Nacked
                };
                outcomes[at] = Some(outcome);
                returned.extend(returned_message_id(confirmation));
            }
            Ok(Some((_, Err(error)))) => keep_root_failure(&mut failure, error.into()),
            Ok(None) => break,
            Err(silent) => {
                keep_root_failure(&mut failure, PublishFailure::ConnectionLost(silent));
                break;
            }
        }
    }
    if failure.is_none() {
        // A return precedes its confirm, so that these are the last of them.
        match channel.wait_for_confirms().await {
            Ok(rest) => returned.extend(
                rest.iter()
                    .map(|message| message.properties.message_id().clone()),
            ),
            Err(error) => failure = Some(error.into()),
        }
    }
    resolve_returned(&mut outcomes, &ids, &returned, failure.is_none());
    PublishReport { outcomes, failure }
}

/// A return comes with whichever confirm is next: its message id alone says whose it is.
fn returned_message_id(confirmation: Confirmation) -> Option<Option<ShortString>> {
    confirmation
        .take_message()
        .map(|message| message.properties.message_id().clone())
}

/// Keeps the failure that says most: the broker's own words for why it closed something.
fn keep_root_failure(failure: &mut Option<PublishFailure>, other: PublishFailure) {
    if matches!(failure, None | Some(PublishFailure::ConnectionLost(_))) {
        *failure = Some(other);
    }
}

/// Tells what was returned from what was confirmed.
///
/// In a part that broke, a return may be missing whose confirm came. It can only be so
/// where other returns came: a confirm of a returned message brings one with it. Then
/// what else was confirmed counts as unknown.
fn resolve_returned(
    outcomes: &mut [Option<PublishOutcome>],
    ids: &[Option<ShortString>],
    returned: &HashSet<Option<ShortString>>,
    whole: bool,
) {
    for (outcome, id) in outcomes.iter_mut().zip(ids) {
        if outcome.is_some() && returned.contains(id) {
            *outcome = Some(PublishOutcome::Returned);
        } else if *outcome == Some(PublishOutcome::Confirmed) && !whole && !returned.is_empty() {
            *outcome = None;
        }
    }
}

/// Waits for as long as the broker isn't silent. One that has blocked the connection may
/// be silent; heartbeats say whether it is still there.
async fn with_confirm_timeout<T>(
    blocked: &AtomicBool,
    answer: impl Future<Output = T>,
) -> Result<T, BrokerError> {
    let mut answer = pin!(answer);
    loop {
        match tokio::time::timeout(CONFIRM_TIMEOUT, &mut answer).await {
            Ok(answer) => return Ok(answer),
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

    fn sorted(
        outcomes: &[Option<PublishOutcome>],
        returned: &[&str],
        whole: bool,
    ) -> Vec<Option<PublishOutcome>> {
        let ids: Vec<_> = (0..outcomes.len()).map(|at| id(&at.to_string())).collect();
        let returned = returned.iter().map(|text| id(text)).collect();
        let mut outcomes = outcomes.to_vec();
        resolve_returned(&mut outcomes, &ids, &returned, whole);
        outcomes
    }

    #[test]
    fn what_was_confirmed_before_a_failure_is_known() {
        let outcomes = [
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Nacked),
            None,
        ];
        assert_eq!(sorted(&outcomes, &[], false), outcomes);
    }

    #[test]
    fn a_return_is_no_confirm() {
        let outcomes = [
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Confirmed),
        ];
        assert_eq!(
            sorted(&outcomes, &["1"], true),
            [
                Some(PublishOutcome::Confirmed),
                Some(PublishOutcome::Returned)
            ]
        );
    }

    #[test]
    fn a_return_that_may_be_missing_makes_confirms_unknown() {
        let outcomes = [
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Confirmed),
            Some(PublishOutcome::Nacked),
            None,
        ];
        assert_eq!(
            sorted(&outcomes, &["1", "3"], false),
            [
                None,
                Some(PublishOutcome::Returned),
                Some(PublishOutcome::Nacked),
                None
            ]
        );
    }

    #[test]
    fn the_brokers_own_words_win() {
        let lost = || PublishFailure::ConnectionLost(BrokerError::ConfirmTimeout(CONFIRM_TIMEOUT));
        let mut failure = None;
        keep_root_failure(&mut failure, lost());
        keep_root_failure(&mut failure, PublishFailure::ChannelClosed("no".into()));
        keep_root_failure(&mut failure, lost());
        assert!(matches!(failure, Some(PublishFailure::ChannelClosed(text)) if text == "no"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_connection_may_be_silent_and_no_other() {
        let slow = || tokio::time::sleep(CONFIRM_TIMEOUT * 3);
        let blocked = AtomicBool::new(true);
        assert!(with_confirm_timeout(&blocked, slow()).await.is_ok());
        blocked.store(false, Ordering::Relaxed);
        assert!(with_confirm_timeout(&blocked, slow()).await.is_err());
    }
}
