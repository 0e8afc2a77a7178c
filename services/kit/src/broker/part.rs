//! Messages that are published together, and what is known of each when something breaks.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dm_amqp::{Outcome, Outgoing};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, ErrorKind};

use super::BrokerError;
use crate::fail_point;

/// How long the broker may be silent while confirms are due. Every confirm begins it anew.
const SILENCE: Duration = Duration::from_secs(15);

/// What became of a part.
#[derive(Debug)]
pub(crate) struct Report {
    /// For each message, in their order: `None` where the broker did not say.
    pub outcomes: Vec<Option<Outcome>>,
    /// Why not all of them are known.
    pub failure: Option<Failure>,
}

/// Why the broker did not say what became of every message.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It closed the channel because of a message on it. The connection stands.
    Channel(String),
    /// It closed the connection because of a message on it.
    Connection(String),
    /// The connection is gone, or the broker is silent: no message is at fault.
    Lost(BrokerError),
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        let ErrorKind::ProtocolError(reason) = error.kind() else {
            return Self::Lost(error.into());
        };
        match reason.kind() {
            AMQPErrorKind::Soft(_) => Self::Channel(reason.to_string()),
            // An operator's doing, or the broker's own trouble.
            AMQPErrorKind::Hard(
                AMQPHardError::CONNECTIONFORCED
                | AMQPHardError::RESOURCEERROR
                | AMQPHardError::INTERNALERROR,
            ) => Self::Lost(error.into()),
            AMQPErrorKind::Hard(_) => Self::Connection(reason.to_string()),
        }
    }
}

impl From<Failure> for BrokerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Channel(reason) | Failure::Connection(reason) => Self::Refused(reason),
            Failure::Lost(error) => error,
        }
    }
}

impl Report {
    /// The report on messages of which none could be sent.
    pub(super) fn unsent(count: usize, failure: Failure) -> Self {
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
pub(super) async fn publish(
    channel: &Channel,
    messages: Vec<Outgoing>,
    blocked: &AtomicBool,
) -> Report {
    let mut outcomes = vec![None; messages.len()];
    let mut ids: Vec<Option<ShortString>> = Vec::with_capacity(messages.len());
    let mut confirms = FuturesUnordered::new();
    let mut failure: Option<Failure> = None;
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
        match unless_silent(blocked, sent).await {
            Ok(Ok(confirm)) => confirms.push(async move { (at, confirm.await) }),
            Ok(Err(error)) => failure = Some(error.into()),
            Err(silent) => failure = Some(Failure::Lost(silent)),
        }
        if failure.is_some() {
            break;
        }
    }
    fail_point::reached("publisher.sent").await;
    let mut returned: HashSet<Option<ShortString>> = HashSet::new();
    loop {
        match unless_silent(blocked, confirms.next()).await {
            Ok(Some((at, Ok(confirmation)))) => {
                let outcome = if confirmation.is_ack() {
                    Outcome::Confirmed
                } else {
                    Outcome::Refused
                };
                outcomes[at] = Some(outcome);
                returned.extend(id_of_return(confirmation));
            }
            Ok(Some((_, Err(error)))) => note(&mut failure, error.into()),
            Ok(None) => break,
            Err(silent) => {
                note(&mut failure, Failure::Lost(silent));
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
    sort_out(&mut outcomes, &ids, &returned, failure.is_none());
    Report { outcomes, failure }
}

/// A return comes with whichever confirm is next: its message id alone says whose it is.
fn id_of_return(confirmation: Confirmation) -> Option<Option<ShortString>> {
    confirmation
        .take_message()
        .map(|message| message.properties.message_id().clone())
}

/// Keeps the failure that says most: the broker's own words for why it closed something.
fn note(failure: &mut Option<Failure>, other: Failure) {
    if matches!(failure, None | Some(Failure::Lost(_))) {
        *failure = Some(other);
    }
}

/// Tells what was returned from what was confirmed.
///
/// In a part that broke, a return may be missing whose confirm came. It can only be so
/// where other returns came: a confirm of a returned message brings one with it. Then
/// what else was confirmed counts as unknown.
fn sort_out(
    outcomes: &mut [Option<Outcome>],
    ids: &[Option<ShortString>],
    returned: &HashSet<Option<ShortString>>,
    whole: bool,
) {
    for (outcome, id) in outcomes.iter_mut().zip(ids) {
        if outcome.is_some() && returned.contains(id) {
            *outcome = Some(Outcome::Returned);
        } else if *outcome == Some(Outcome::Confirmed) && !whole && !returned.is_empty() {
            *outcome = None;
        }
    }
}

/// Waits for as long as the broker isn't silent. One that has blocked the connection may
/// be silent; heartbeats say whether it is still there.
async fn unless_silent<T>(
    blocked: &AtomicBool,
    answer: impl Future<Output = T>,
) -> Result<T, BrokerError> {
    let mut answer = pin!(answer);
    loop {
        match tokio::time::timeout(SILENCE, &mut answer).await {
            Ok(answer) => return Ok(answer),
            Err(_) if blocked.load(Ordering::Relaxed) => {}
            Err(_) => return Err(BrokerError::Silent(SILENCE)),
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
        outcomes: &[Option<Outcome>],
        returned: &[&str],
        whole: bool,
    ) -> Vec<Option<Outcome>> {
        let ids: Vec<_> = (0..outcomes.len()).map(|at| id(&at.to_string())).collect();
        let returned = returned.iter().map(|text| id(text)).collect();
        let mut outcomes = outcomes.to_vec();
        sort_out(&mut outcomes, &ids, &returned, whole);
        outcomes
    }

    #[test]
    fn what_was_confirmed_before_a_failure_is_known() {
        let outcomes = [Some(Outcome::Confirmed), Some(Outcome::Refused), None];
        assert_eq!(sorted(&outcomes, &[], false), outcomes);
    }

    #[test]
    fn a_return_is_no_confirm() {
        let outcomes = [Some(Outcome::Confirmed), Some(Outcome::Confirmed)];
        assert_eq!(
            sorted(&outcomes, &["1"], true),
            [Some(Outcome::Confirmed), Some(Outcome::Returned)]
        );
    }

    #[test]
    fn a_return_that_may_be_missing_makes_confirms_unknown() {
        let outcomes = [
            Some(Outcome::Confirmed),
            Some(Outcome::Confirmed),
            Some(Outcome::Refused),
            None,
        ];
        assert_eq!(
            sorted(&outcomes, &["1", "3"], false),
            [None, Some(Outcome::Returned), Some(Outcome::Refused), None]
        );
    }

    #[test]
    fn the_brokers_own_words_win() {
        let lost = || Failure::Lost(BrokerError::Silent(SILENCE));
        let mut failure = None;
        note(&mut failure, lost());
        note(&mut failure, Failure::Channel("no".into()));
        note(&mut failure, lost());
        assert!(matches!(failure, Some(Failure::Channel(text)) if text == "no"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_connection_may_be_silent_and_no_other() {
        let slow = || tokio::time::sleep(SILENCE * 3);
        let blocked = AtomicBool::new(true);
        assert!(unless_silent(&blocked, slow()).await.is_ok());
        blocked.store(false, Ordering::Relaxed);
        assert!(unless_silent(&blocked, slow()).await.is_err());
    }
}
