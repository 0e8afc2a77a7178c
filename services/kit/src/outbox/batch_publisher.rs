//! Publishes a batch of events.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use dm_contracts::topology;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, warn};

use super::error::{RelayError, with_query_timeout};
use super::message::{TOO_LONG_ERROR, build_message, is_publishable};
use super::ordering::AggregateWaves;
use super::send_queue::SendQueue;
use super::store::{OutboxSession, PendingEvent};
use crate::broker::{
    BrokerError, OutgoingMessage, PublishFailure, PublishOutcome, PublishReport, Publisher,
};
use crate::fail_point;
use crate::telemetry::Metrics;

/// Maximum number of parts that are in flight at the same time, each on its own channel.
/// Events that were confirmed before are marked in the meantime.
pub(super) const CHANNELS: usize = 4;

/// Maximum delay before a refused event is published again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Publishes the parts of a batch.
pub(super) trait PartPublisher: Send + Sync + 'static {
    /// Publishes the messages of a part on one of the channels.
    fn publish_part(
        &self,
        channel: usize,
        messages: Vec<OutgoingMessage>,
    ) -> impl Future<Output = PublishReport> + Send;
}

impl PartPublisher for Publisher {
    async fn publish_part(&self, channel: usize, messages: Vec<OutgoingMessage>) -> PublishReport {
        self.publish_batch(channel, messages).await
    }
}

/// Publishes batches in one session of the relay.
pub(super) struct BatchPublisher<'a, S, P> {
    pub(super) session: &'a mut S,
    pub(super) publisher: &'a Arc<P>,
    pub(super) metrics: &'a Metrics,
    /// Whether the broker closed the last connection because of an event. Then events are
    /// published one at a time, until that event is found or a batch was published.
    pub(super) isolating: &'a AtomicBool,
}

/// A part that was sent, with its report.
struct SentPart {
    channel: usize,
    part: Vec<PendingEvent>,
    report: PublishReport,
}

impl<S: OutboxSession, P: PartPublisher> BatchPublisher<'_, S, P> {
    /// Publishes a batch. Returns the time until the first refused event is published again.
    ///
    /// Events that were confirmed before a failure are marked all the same, so that none is
    /// published again forever.
    pub(super) async fn publish(
        mut self,
        batch: Vec<PendingEvent>,
    ) -> Result<Option<Duration>, RelayError> {
        let isolating = self.isolating.load(Ordering::Relaxed);
        let mut waves = AggregateWaves::new(
            batch
                .into_iter()
                .map(|pending| (pending.subject.clone(), pending)),
        );
        // Confirmed events that are not marked in the outbox yet. They may be marked after the
        // next event of their aggregate is sent: if the process is killed in between, both are
        // sent again in their order, and the inboxes ignore the duplicates.
        let mut confirmed = Vec::new();
        let mut next_retry_in: Option<Duration> = None;
        while let Some(wave) = waves.next_wave() {
            let queue = SendQueue::new(wave, isolating);
            let refused = self.publish_wave(queue, &mut confirmed, isolating).await?;
            for pending in refused {
                waves.stop_aggregate(&pending.subject);
                let delay = retry_delay(pending.attempts);
                next_retry_in = Some(next_retry_in.map_or(delay, |next| next.min(delay)));
            }
        }
        self.mark_published(confirmed).await?;
        self.isolating.store(false, Ordering::Relaxed);
        Ok(next_retry_in)
    }

    /// Publishes events of different aggregates, in any order. Returns the refused events.
    async fn publish_wave(
        &mut self,
        mut queue: SendQueue,
        confirmed: &mut Vec<i64>,
        isolating: bool,
    ) -> Result<Vec<PendingEvent>, RelayError> {
        let mut refused = Vec::new();
        let mut in_flight: JoinSet<SentPart> = JoinSet::new();
        let channels = if isolating { 1 } else { CHANNELS };
        let mut free_channels: Vec<usize> = (0..channels).collect();
        let mut failure: Option<RelayError> = None;
        loop {
            while failure.is_none()
                && let Some(channel) = free_channels.pop()
            {
                let part = queue.next_part();
                if part.is_empty() {
                    free_channels.push(channel);
                    break;
                }
                let (part, unpublishable) = self
                    .load_payloads(part)
                    .await?
                    .into_iter()
                    .partition(is_publishable);
                for pending in unpublishable {
                    self.mark_refused(&pending, TOO_LONG_ERROR).await?;
                    refused.push(pending);
                }
                in_flight.spawn(send_part(Arc::clone(self.publisher), channel, part));
            }
            let (sent, marked) = tokio::join!(
                in_flight.join_next(),
                mark_published(self.session, self.metrics, confirmed)
            );
            marked?;
            let Some(sent) = sent else {
                return failure.map_or(Ok(refused), Err);
            };
            let SentPart {
                channel,
                part,
                report,
            } = sent.map_err(task_failed)?;
            free_channels.push(channel);
            let is_single = part.len() == 1;
            let mut unknown = Vec::new();
            for (pending, outcome) in part.into_iter().zip(report.outcomes) {
                let error = match (outcome, &report.failure) {
                    (Some(PublishOutcome::Confirmed), _) => {
                        self.observe_lag(&pending);
                        confirmed.push(pending.sequence);
                        continue;
                    }
                    (Some(PublishOutcome::Returned), _) => "no queue is bound to its routing key",
                    (Some(PublishOutcome::Nacked), _) => "a queue refused the message",
                    (
                        None,
                        Some(
                            PublishFailure::ChannelClosed(reason)
                            | PublishFailure::ConnectionClosed(reason),
                        ),
                    ) if is_single => reason,
                    (None, _) => {
                        unknown.push(pending);
                        continue;
                    }
                };
                self.mark_refused(&pending, error).await?;
                refused.push(pending);
            }
            match report.failure {
                None => {}
                // One of these events caused the closure, so they are published one by one.
                Some(PublishFailure::ChannelClosed(reason)) => {
                    debug!(error.message = reason, "RabbitMQ closed the channel");
                    queue.requeue_suspects(unknown);
                }
                Some(other) => {
                    if matches!(other, PublishFailure::ConnectionClosed(_)) && !is_single {
                        self.isolating.store(true, Ordering::Relaxed);
                    }
                    // The other parts are awaited first, so that their events are marked.
                    failure.get_or_insert(BrokerError::from(other).into());
                }
            }
        }
    }

    /// Loads the missing envelopes of a part. Events that no longer exist are removed from it.
    async fn load_payloads(
        &mut self,
        mut part: Vec<PendingEvent>,
    ) -> Result<Vec<PendingEvent>, RelayError> {
        let missing: Vec<i64> = part
            .iter()
            .filter(|pending| pending.payload.is_none())
            .map(|pending| pending.sequence)
            .collect();
        if missing.is_empty() {
            return Ok(part);
        }
        let payloads = with_query_timeout(self.session.fetch_payloads(&missing)).await?;
        let mut payloads: HashMap<i64, String> = payloads.into_iter().collect();
        for pending in &mut part {
            if pending.payload.is_none() {
                pending.payload = payloads.remove(&pending.sequence);
            }
        }
        part.retain(|pending| pending.payload.is_some());
        Ok(part)
    }

    /// Observes the publish lag of a confirmed event, unless it was delayed.
    fn observe_lag(&self, pending: &PendingEvent) {
        if !pending.was_delayed {
            let lag = (Utc::now() - pending.created_at).as_seconds_f64();
            self.metrics.publish_lag.observe(lag.max(0.0));
        }
    }

    /// Delays an event that could not be published.
    async fn mark_refused(
        &mut self,
        pending: &PendingEvent,
        error: &str,
    ) -> Result<(), RelayError> {
        let delay = retry_delay(pending.attempts);
        self.metrics.refused.inc();
        warn!(
            messaging.message.id = pending.event_id,
            messaging.destination.name = topology::EVENT_EXCHANGE,
            messaging.rabbitmq.destination.routing_key = pending.routing_key,
            event_type = pending.event_type,
            error.message = error,
            delay_s = delay.as_secs_f64(),
            "could not publish the event; it stays in the outbox"
        );
        with_query_timeout(self.session.mark_refused(pending.sequence, error, delay)).await
    }

    async fn mark_published(&mut self, mut confirmed: Vec<i64>) -> Result<(), RelayError> {
        mark_published(self.session, self.metrics, &mut confirmed).await
    }
}

/// Marks confirmed events as published.
async fn mark_published<S: OutboxSession>(
    session: &mut S,
    metrics: &Metrics,
    confirmed: &mut Vec<i64>,
) -> Result<(), RelayError> {
    if confirmed.is_empty() {
        return Ok(());
    }
    fail_point::reached("relay.confirmed").await;
    with_query_timeout(session.mark_published(confirmed)).await?;
    fail_point::reached("relay.marked").await;
    debug!(
        messaging.batch.message_count = confirmed.len(),
        "events published"
    );
    metrics
        .published
        .inc_by(u64::try_from(confirmed.len()).unwrap_or_default());
    confirmed.clear();
    Ok(())
}

/// Sends a part on one of the channels.
async fn send_part<P: PartPublisher>(
    publisher: Arc<P>,
    channel: usize,
    mut part: Vec<PendingEvent>,
) -> SentPart {
    let messages = part.iter_mut().map(build_message).collect();
    let report = publisher.publish_part(channel, messages).await;
    SentPart {
        channel,
        part,
        report,
    }
}

/// Returns the error of a session whose publishing task failed.
fn task_failed(error: JoinError) -> RelayError {
    RelayError::TaskFailed(error.to_string())
}

/// Returns the delay before an event with this number of refusals is published again.
fn retry_delay(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 8)).unwrap_or_default();
    (Duration::from_millis(500) * 2_u32.pow(doublings)).min(MAX_RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message_id;

    /// A session that records which events are marked.
    #[derive(Default)]
    struct RecordingSession {
        published: Vec<i64>,
        refused: Vec<i64>,
    }

    impl OutboxSession for RecordingSession {
        async fn fetch_payloads(&mut self, _: &[i64]) -> Result<Vec<(i64, String)>, sqlx::Error> {
            Ok(Vec::new())
        }

        async fn mark_published(&mut self, sequences: &[i64]) -> Result<(), sqlx::Error> {
            self.published.extend(sequences);
            Ok(())
        }

        async fn mark_refused(
            &mut self,
            sequence: i64,
            _: &str,
            _: Duration,
        ) -> Result<(), sqlx::Error> {
            self.refused.push(sequence);
            Ok(())
        }
    }

    /// A publisher that receives no confirm of one event.
    struct UnconfirmedEvent(&'static str);

    impl PartPublisher for UnconfirmedEvent {
        async fn publish_part(&self, _: usize, messages: Vec<OutgoingMessage>) -> PublishReport {
            let outcomes: Vec<_> = messages
                .iter()
                .map(|message| {
                    let is_confirmed = message_id(&message.properties) != self.0;
                    is_confirmed.then_some(PublishOutcome::Confirmed)
                })
                .collect();
            let timeout = BrokerError::ConfirmTimeout(Duration::from_secs(1));
            let failure = outcomes
                .contains(&None)
                .then_some(PublishFailure::ConnectionLost(timeout));
            PublishReport { outcomes, failure }
        }
    }

    fn pending(sequence: i64, payload_size: i64) -> PendingEvent {
        PendingEvent {
            sequence,
            event_id: format!("evt_{sequence}"),
            event_type: String::new(),
            routing_key: String::new(),
            subject: sequence.to_string(),
            traceparent: None,
            payload: Some("{}".into()),
            payload_size,
            attempts: 0,
            created_at: Utc::now(),
            was_delayed: false,
        }
    }

    #[tokio::test]
    async fn confirmed_events_are_marked_if_the_rest_of_their_part_fails() {
        let mut session = RecordingSession::default();
        let metrics = Metrics::default();
        let batch_publisher = BatchPublisher {
            session: &mut session,
            publisher: &Arc::new(UnconfirmedEvent("evt_2")),
            metrics: &metrics,
            isolating: &AtomicBool::new(false),
        };
        // The last event is a part by itself, because of its size.
        let batch = [(1, 1), (2, 1), (3, 1), (4, 1 << 30)]
            .map(|(sequence, payload_size)| pending(sequence, payload_size));
        let result = batch_publisher.publish(batch.into()).await;
        assert!(
            matches!(
                result,
                Err(RelayError::Broker(BrokerError::ConfirmTimeout(_)))
            ),
            "{result:?}"
        );
        session.published.sort_unstable();
        assert_eq!(session.published, [1, 3, 4]);
        assert!(session.refused.is_empty(), "{:?}", session.refused);
    }

    #[test]
    fn retry_delay_doubles_up_to_a_minute() {
        let seconds: Vec<f64> = [0, 1, 2, 7, 8, 1000]
            .map(|attempts| retry_delay(attempts).as_secs_f64())
            .to_vec();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 60.0, 60.0, 60.0]);
    }
}
