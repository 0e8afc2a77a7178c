//! A batch on its way to the broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use sqlx::postgres::PgListener;
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, warn};

use super::error::{RelayError, with_query_timeout};
use super::message::{TOO_LONG_ERROR, build_message, is_publishable};
use super::ordering::AggregateWaves;
use super::send_queue::SendQueue;
use super::store::{self, PendingEvent};
use crate::broker::{BrokerError, PublishFailure, PublishOutcome, PublishReport, Publisher};
use crate::fail_point;
use crate::telemetry::Metrics;

/// How many parts are under way at the same time, each on a channel of its own; what
/// was confirmed before them is marked meanwhile.
pub(super) const CHANNELS: usize = 4;

/// The longest pause of an event that is refused again and again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// What the events of a batch go by.
pub(super) struct BatchPublisher<'a> {
    pub(super) session: &'a mut PgListener,
    pub(super) publisher: &'a Arc<Publisher>,
    pub(super) metrics: &'a Metrics,
    /// Whether an event cost the last session its connection: then one at a time goes,
    /// until the one is found or a batch got through.
    pub(super) isolating: &'a AtomicBool,
}

/// A part whose fate is known as far as it can be.
struct SentPart {
    channel: usize,
    part: Vec<PendingEvent>,
    report: PublishReport,
}

impl BatchPublisher<'_> {
    /// Publishes a batch. Answers how long to wait for the first of those that the
    /// broker refused.
    ///
    /// What was confirmed before something broke is marked all the same, so that nothing
    /// goes round for ever.
    pub(super) async fn publish(
        mut self,
        batch: Vec<PendingEvent>,
    ) -> Result<Option<Duration>, RelayError> {
        let careful = self.isolating.load(Ordering::Relaxed);
        let mut waves = AggregateWaves::new(
            batch
                .into_iter()
                .map(|pending| (pending.subject.clone(), pending)),
        );
        // What the broker has and the outbox does not say yet. To say it later than the
        // next event of an aggregate is sent is safe: killed in between, both are sent
        // again in their order, and inboxes absorb them.
        let mut confirmed = Vec::new();
        let mut again: Option<Duration> = None;
        while let Some(wave) = waves.next_wave() {
            let parts = SendQueue::new(wave, careful);
            let refused = self.publish_wave(parts, &mut confirmed, careful).await?;
            for pending in refused {
                waves.stop_aggregate(&pending.subject);
                let pause = retry_delay(pending.attempts);
                again = Some(again.map_or(pause, |again| again.min(pause)));
            }
        }
        self.mark_published(confirmed).await?;
        self.isolating.store(false, Ordering::Relaxed);
        Ok(again)
    }

    /// Publishes what is of different aggregates: their order is nobody's. Answers what
    /// the broker refused.
    async fn publish_wave(
        &mut self,
        mut parts: SendQueue,
        confirmed: &mut Vec<i64>,
        careful: bool,
    ) -> Result<Vec<PendingEvent>, RelayError> {
        let mut refused = Vec::new();
        let mut flying: JoinSet<SentPart> = JoinSet::new();
        let channels = if careful { 1 } else { CHANNELS };
        let mut free: Vec<usize> = (0..channels).collect();
        let mut broken: Option<RelayError> = None;
        loop {
            while broken.is_none()
                && let Some(channel) = free.pop()
            {
                let part = parts.next_part();
                if part.is_empty() {
                    free.push(channel);
                    break;
                }
                let (part, unfit) = self
                    .load_payloads(part)
                    .await?
                    .into_iter()
                    .partition(is_publishable);
                for pending in unfit {
                    self.mark_refused(&pending, TOO_LONG_ERROR).await?;
                    refused.push(pending);
                }
                flying.spawn(send_part(Arc::clone(self.publisher), channel, part));
            }
            let (landed, marked) = tokio::join!(
                flying.join_next(),
                mark_published(self.session, self.metrics, confirmed)
            );
            marked?;
            let Some(landed) = landed else {
                return broken.map_or(Ok(refused), Err);
            };
            let SentPart {
                channel,
                part,
                report,
            } = landed.map_err(task_failed)?;
            free.push(channel);
            let alone = part.len() == 1;
            let mut unknown = Vec::new();
            for (pending, outcome) in part.into_iter().zip(report.outcomes) {
                let fault = match (outcome, &report.failure) {
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
                            PublishFailure::ChannelClosed(why)
                            | PublishFailure::ConnectionClosed(why),
                        ),
                    ) if alone => why,
                    (None, _) => {
                        unknown.push(pending);
                        continue;
                    }
                };
                self.mark_refused(&pending, fault).await?;
                refused.push(pending);
            }
            match report.failure {
                None => {}
                // One of them closed the channel: they go one by one.
                Some(PublishFailure::ChannelClosed(why)) => {
                    debug!(why, "RabbitMQ closed a channel");
                    parts.requeue_suspects(unknown);
                }
                Some(failure) => {
                    if matches!(failure, PublishFailure::ConnectionClosed(_)) && !alone {
                        self.isolating.store(true, Ordering::Relaxed);
                    }
                    // The other parts land first: what they bring is marked.
                    broken.get_or_insert(BrokerError::from(failure).into());
                }
            }
        }
    }

    /// The events of a part that are still there, with their envelopes.
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
        let found = with_query_timeout(store::fetch_payloads(self.session, &missing)).await?;
        let mut found: HashMap<i64, String> = found.into_iter().collect();
        for pending in &mut part {
            if pending.payload.is_none() {
                pending.payload = found.remove(&pending.sequence);
            }
        }
        part.retain(|pending| pending.payload.is_some());
        Ok(part)
    }

    /// Notes how long a confirmed event took.
    fn observe_lag(&self, pending: &PendingEvent) {
        if !pending.held {
            let lag = (Utc::now() - pending.created_at).as_seconds_f64();
            self.metrics.publish_lag.observe(lag.max(0.0));
        }
    }

    /// Keeps an event back that the broker didn't take.
    async fn mark_refused(
        &mut self,
        pending: &PendingEvent,
        error: &str,
    ) -> Result<(), RelayError> {
        let pause = retry_delay(pending.attempts);
        self.metrics.refused.inc();
        warn!(
            event_id = pending.event_id,
            routing_key = pending.routing_key,
            error,
            "an event stays in the outbox"
        );
        with_query_timeout(store::mark_refused(
            self.session,
            pending.sequence,
            error,
            pause,
        ))
        .await
    }

    async fn mark_published(&mut self, mut confirmed: Vec<i64>) -> Result<(), RelayError> {
        mark_published(self.session, self.metrics, &mut confirmed).await
    }
}

/// Notes what the broker has.
async fn mark_published(
    session: &mut PgListener,
    metrics: &Metrics,
    confirmed: &mut Vec<i64>,
) -> Result<(), RelayError> {
    if confirmed.is_empty() {
        return Ok(());
    }
    fail_point::reached("relay.confirmed").await;
    with_query_timeout(store::mark_published(session, confirmed)).await?;
    fail_point::reached("relay.marked").await;
    debug!(count = confirmed.len(), "published");
    metrics
        .published
        .inc_by(u64::try_from(confirmed.len()).unwrap_or_default());
    confirmed.clear();
    Ok(())
}

/// Sends a part on one of the channels.
async fn send_part(
    publisher: Arc<Publisher>,
    channel: usize,
    mut part: Vec<PendingEvent>,
) -> SentPart {
    let messages = part.iter_mut().map(build_message).collect();
    let report = publisher.publish_batch(channel, messages).await;
    SentPart {
        channel,
        part,
        report,
    }
}

/// Why a session ends whose task did.
fn task_failed(error: JoinError) -> RelayError {
    RelayError::TaskFailed(error.to_string())
}

/// How long an event rests that was refused so often before.
fn retry_delay(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 8)).unwrap_or_default();
    (Duration::from_millis(500) * 2_u32.pow(doublings)).min(MAX_RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute() {
        let seconds: Vec<f64> = [0, 1, 2, 7, 8, 1000]
            .map(|attempts| retry_delay(attempts).as_secs_f64())
            .to_vec();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 60.0, 60.0, 60.0]);
    }
}
