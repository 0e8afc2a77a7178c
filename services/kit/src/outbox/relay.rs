//! The relay: from the outbox to the broker.

use std::pin::pin;
use std::time::Duration;

use chrono::Utc;
use dm_contracts::{envelope, headers, topology};
use futures_util::{StreamExt as _, stream};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::look::{Look, look};
use super::store::{self, Pending};
use super::waker::Waker;
use super::waves::Waves;
use crate::broker::{self, Broker, BrokerError, Outcome, Outgoing, Publisher};
use crate::fail_point;
use crate::http::Indicator;
use crate::telemetry::Metrics;

/// How many events are read at once.
const BATCH: u16 = 2000;

/// How many are sent before their confirms are waited for. The broker writes to disk
/// what lies before it, so that few large parts cost it less than many small ones.
const PART: usize = 500;

/// How many parts are under way at the same time, each on a channel of its own; what
/// was confirmed before them is marked meanwhile.
const CHANNELS: usize = 4;

/// A mark that is lost when the database server crashes costs no more than sending the
/// event again, and so needn't wait for the disk. Nothing else is written here.
const MARKS: [(&str, &str); 1] = [("synchronous_commit", "off")];

/// How long to trust in being woken: who commits can be killed before the call.
const POLL: Duration = Duration::from_secs(1);

/// How often an instance that doesn't relay asks whether it should.
const STANDBY: Duration = Duration::from_millis(500);

/// The longest pause of an event that is refused again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Publishes what is in the outbox.
#[derive(Debug)]
pub struct Relay {
    /// The schema whose outbox it is.
    pub schema: &'static str,
    /// The database.
    pub database: PgConnectOptions,
    /// The broker.
    pub broker: Broker,
    /// Whether the broker is there.
    pub indicator: Indicator,
    /// What is counted.
    pub metrics: Metrics,
    /// What wakes it.
    pub(crate) waker: Waker,
}

#[derive(Debug, Error)]
enum RelayError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database closed the session")]
    SessionLost,
    #[error("the broker closed the connection")]
    ConnectionLost,
}

impl Relay {
    /// Relays until it is asked to stop; whatever breaks is set up again.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = Duration::from_millis(100);
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            match self.session(&stop).await {
                Ok(()) => return,
                Err(error) => warn!(%error, "the relay begins again"),
            }
            self.indicator.set(false);
            if began.elapsed() > Duration::from_secs(10) {
                pause = Duration::from_millis(100);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// One session with the database and one with the broker.
    async fn session(&self, stop: &CancellationToken) -> Result<(), RelayError> {
        let publisher = self.broker.publisher("relay", CHANNELS).await?;
        self.indicator.set(true);
        // Of its own, and closed with it: the lock lives as long as the session, and
        // whoever lost it can't mark anything any more.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(self.database.clone().options(MARKS))
            .await?;
        let result = self.relay(&pool, &publisher, stop).await;
        self.relays(false);
        publisher.close().await;
        pool.close().await;
        result
    }

    async fn relay(
        &self,
        pool: &PgPool,
        publisher: &Publisher,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let mut session = PgListener::connect_with(pool).await?;
        session.eager_reconnect(false);
        session.ignore_pool_close_event(true);
        session.listen(&super::channel(self.schema)).await?;
        while !self.lock(&mut session).await? {
            if !publisher.is_connected() {
                return Err(RelayError::ConnectionLost);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(STANDBY) => {}
            }
        }
        info!(schema = self.schema, "relaying the outbox");
        self.relays(true);
        while !stop.is_cancelled() {
            if !publisher.is_connected() {
                return Err(RelayError::ConnectionLost);
            }
            // Nothing is taken up that could not be sent.
            if publisher.is_blocked() {
                self.wait(&mut session, POLL, stop).await?;
                continue;
            }
            let Look {
                due,
                next,
                complete,
            } = look(&mut session, BATCH).await?;
            if !due.is_empty() {
                fail_point::reached("relay.claimed").await;
            }
            let again = self.publish(&mut session, publisher, due).await?;
            // What is committed after a look wakes this relay, so that no second look is
            // needed where the first one saw everything.
            if complete {
                let pause = [next, again].into_iter().flatten().min().unwrap_or(POLL);
                self.wait(&mut session, pause, stop).await?;
            }
        }
        Ok(())
    }

    /// Whether this session is the one that relays.
    async fn lock(&self, session: &mut PgListener) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('outbox'), hashtext($1))")
            .bind(self.schema)
            .fetch_one(session)
            .await
    }

    /// Notes whether it is this instance that relays.
    fn relays(&self, here: bool) {
        self.waker.relays(here);
        self.metrics.relaying.set(here.into());
    }

    /// Waits until there may be something to do.
    async fn wait(
        &self,
        session: &mut PgListener,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause.clamp(Duration::from_millis(1), POLL)) => {}
            () = self.waker.woken() => {}
            woken = session.try_recv() => {
                if woken?.is_none() {
                    return Err(RelayError::SessionLost);
                }
            }
        }
        // One look serves all that came meanwhile.
        while session.next_buffered().is_some() {}
        Ok(())
    }

    /// Publishes a batch. Answers how long to wait for the first of those that the
    /// broker refused.
    async fn publish(
        &self,
        session: &mut PgListener,
        publisher: &Publisher,
        batch: Vec<Pending>,
    ) -> Result<Option<Duration>, RelayError> {
        let mut again: Option<Duration> = None;
        let mut waves = Waves::new(
            batch
                .into_iter()
                .map(|pending| (pending.subject.clone(), pending)),
        );
        // What the broker has and the outbox does not say yet. To say it later than the
        // next event of an aggregate is sent is safe: killed in between, both are sent
        // again in their order, and inboxes absorb them.
        let mut confirmed = Vec::new();
        while let Some(wave) = waves.next() {
            // Of different aggregates all of them: their order is nobody's.
            let parts: Vec<_> = wave
                .chunks(PART)
                .enumerate()
                .map(|(number, part)| send(publisher, number, part))
                .collect();
            // The next part takes a channel when the one that had it is done.
            let mut parts = pin!(stream::iter(parts).buffered(CHANNELS));
            loop {
                let (part, marked) = tokio::join!(
                    parts.next(),
                    self.mark(session, std::mem::take(&mut confirmed)),
                );
                marked?;
                let Some(part) = part else { break };
                for (pending, outcome) in part? {
                    let error = match outcome {
                        Outcome::Confirmed => {
                            if !pending.held {
                                let lag = (Utc::now() - pending.created_at).as_seconds_f64();
                                self.metrics.publish_lag.observe(lag.max(0.0));
                            }
                            confirmed.push(pending.sequence);
                            continue;
                        }
                        Outcome::Returned => "no queue takes it",
                        Outcome::Refused => "a queue refused it",
                    };
                    self.metrics.refused.inc();
                    waves.stop(&pending.subject);
                    let pause = pause(pending.attempts);
                    warn!(
                        event_id = pending.event_id,
                        routing_key = pending.routing_key,
                        error,
                        "an event stays in the outbox"
                    );
                    store::refused(session, pending.sequence, error, pause).await?;
                    again = Some(again.map_or(pause, |again| again.min(pause)));
                }
            }
        }
        self.mark(session, confirmed).await?;
        Ok(again)
    }

    /// Notes what the broker has.
    async fn mark(&self, session: &mut PgListener, confirmed: Vec<i64>) -> Result<(), RelayError> {
        if confirmed.is_empty() {
            return Ok(());
        }
        fail_point::reached("relay.confirmed").await;
        store::published(session, &confirmed).await?;
        fail_point::reached("relay.marked").await;
        debug!(count = confirmed.len(), "published");
        self.metrics
            .published
            .inc_by(u64::try_from(confirmed.len()).unwrap_or_default());
        Ok(())
    }
}

/// Sends a part on one of the channels. Answers what became of each event.
async fn send<'p>(
    publisher: &Publisher,
    channel: usize,
    part: &'p [Pending],
) -> Result<Vec<(&'p Pending, Outcome)>, BrokerError> {
    let messages: Vec<Outgoing> = part.iter().map(message).collect();
    let outcomes = publisher.publish_on(channel, &messages).await?;
    Ok(part.iter().zip(outcomes).collect())
}

/// The message of a row.
fn message(pending: &Pending) -> Outgoing {
    let mut table = FieldTable::default();
    if let Some(parent) = &pending.traceparent {
        table.insert(
            headers::TRACEPARENT.into(),
            AMQPValue::LongString(parent.as_str().into()),
        );
    }
    let properties = BasicProperties::default()
        .with_content_type(envelope::CONTENT_TYPE.into())
        .with_type(pending.event_type.as_str().into())
        .with_headers(table);
    Outgoing {
        exchange: topology::EVENTS.to_owned(),
        // Some events are for outside use: no queue here takes them.
        mandatory: topology::queues_for(&pending.routing_key).next().is_some(),
        routing_key: pending.routing_key.clone(),
        properties: broker::lasting(properties, &pending.event_id),
        body: pending.payload.clone().into_bytes(),
    }
}

/// How long an event rests that was refused so often before.
fn pause(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 8)).unwrap_or_default();
    (Duration::from_millis(500) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute() {
        let seconds: Vec<f64> = [0, 1, 2, 7, 8, 1000]
            .map(|attempts| pause(attempts).as_secs_f64())
            .to_vec();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 60.0, 60.0, 60.0]);
    }
}
