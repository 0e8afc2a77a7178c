//! The relay: from the outbox to the broker.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dm_amqp::supervise;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch_publisher::{BatchPublisher, CHANNELS};
use super::error::{RelayError, with_query_timeout};
use super::pending::{PendingBatch, read_pending};
use super::store;
use crate::broker::{BrokerConnector, Publisher};
use crate::fail_point;
use crate::http::HealthIndicator;
use crate::relay_notifier::{RelayNotifier, notify_channel};
use crate::telemetry::Metrics;

/// How many events are read at once: what is small whole, of the rest the heading.
const BATCH_SIZE: u16 = 2000;

/// A mark that is lost when the database server crashes costs no more than sending the
/// event again, and so needn't wait for the disk. Nothing else is written here.
const SESSION_SETTINGS: [(&str, &str); 1] = [("synchronous_commit", "off")];

/// How long to trust in being woken: who commits can be killed before the call.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often an instance that doesn't relay asks whether it should.
const STANDBY_INTERVAL: Duration = Duration::from_millis(500);

/// How long to stand by until it is said who relays, and how often it is said again.
const REMINDER_INTERVAL: Duration = Duration::from_secs(30);

/// How long to wait for the database's goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Publishes what is in the outbox.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The schema whose outbox it is.
    pub schema: &'static str,
    /// The database.
    pub database: PgConnectOptions,
    /// The broker.
    pub broker: BrokerConnector,
    /// Whether the broker is there.
    pub indicator: HealthIndicator,
    /// What is counted.
    pub metrics: Metrics,
    /// What wakes it.
    pub(crate) notifier: RelayNotifier,
}

impl Relay {
    /// Relays until it is asked to stop; whatever breaks is set up again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let careful = AtomicBool::new(false);
        let broken = |error: RelayError| {
            warn!(%error, "the relay restarts");
            self.indicator.set(false);
        };
        supervise(&stop, || self.run_session(&careful, &stop), broken).await;
    }

    /// One session with the database and one with the broker.
    async fn run_session(
        &self,
        careful: &AtomicBool,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let publisher = Arc::new(self.broker.open_publisher("relay", CHANNELS).await?);
        self.indicator.set(true);
        // Of its own, and closed with it: the lock lives as long as the session, and
        // whoever lost it can't mark anything any more.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(self.database.clone().options(SESSION_SETTINGS))
            .await?;
        let result = self.relay_events(&pool, &publisher, careful, stop).await;
        self.set_relaying(false);
        publisher.close().await;
        // A session that is cut off can't be closed, and needn't be: the server ends it.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await;
        result
    }

    async fn relay_events(
        &self,
        pool: &PgPool,
        publisher: &Arc<Publisher>,
        careful: &AtomicBool,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let mut session = with_query_timeout(PgListener::connect_with(pool)).await?;
        session.eager_reconnect(false);
        session.ignore_pool_close_event(true);
        with_query_timeout(session.listen(&notify_channel(self.schema))).await?;
        let mut reminder = Instant::now() + REMINDER_INTERVAL;
        while !with_query_timeout(self.try_lock(&mut session)).await? {
            if Instant::now() >= reminder {
                reminder += REMINDER_INTERVAL;
                self.log_lock_holder(&mut session).await?;
            }
            if !publisher.is_connected() {
                return Err(RelayError::BrokerConnectionLost);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(STANDBY_INTERVAL) => {}
            }
        }
        info!(schema = self.schema, "relaying the outbox");
        self.set_relaying(true);
        while !stop.is_cancelled() {
            if !publisher.is_connected() {
                return Err(RelayError::BrokerConnectionLost);
            }
            // Nothing is taken up that could not be sent.
            if publisher.is_blocked() {
                self.wait_for_work(&mut session, POLL_INTERVAL, stop)
                    .await?;
                continue;
            }
            let PendingBatch {
                due,
                next_due_in: next,
                complete,
            } = with_query_timeout(read_pending(&mut session, BATCH_SIZE)).await?;
            if !due.is_empty() {
                fail_point::reached("relay.claimed").await;
            }
            let delivery = BatchPublisher {
                session: &mut session,
                publisher,
                metrics: &self.metrics,
                isolating: careful,
            };
            let again = delivery.publish(due).await?;
            // What is committed after a look wakes this relay, so that no second look is
            // needed where the first one saw everything.
            if complete {
                let pause = [next, again]
                    .into_iter()
                    .flatten()
                    .min()
                    .unwrap_or(POLL_INTERVAL);
                self.wait_for_work(&mut session, pause, stop).await?;
            }
        }
        Ok(())
    }

    /// Whether this session is the one that relays.
    async fn try_lock(&self, session: &mut PgListener) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('outbox'), hashtext($1))")
            .bind(self.schema)
            .fetch_one(session)
            .await
    }

    /// Says which session has the lock. Every role of the database can take it: one that
    /// is no relay of this schema keeps its events in the outbox.
    async fn log_lock_holder(&self, session: &mut PgListener) -> Result<(), RelayError> {
        let schema = self.schema;
        let Some(holder) = with_query_timeout(store::find_lock_holder(session, schema)).await?
        else {
            return Ok(());
        };
        let (pid, role) = (holder.pid, holder.role.unwrap_or_default());
        let application = holder.application.unwrap_or_default();
        if holder.ours {
            info!(
                schema,
                pid, role, application, "another session relays the outbox"
            );
        } else {
            warn!(
                schema,
                pid,
                role,
                application,
                "a session that is not a relay holds the lock of the outbox: nothing is relayed"
            );
        }
        Ok(())
    }

    /// Notes whether it is this instance that relays.
    fn set_relaying(&self, here: bool) {
        self.notifier.set_relaying(here);
        self.metrics.relaying.set(here.into());
    }

    /// Waits until there may be something to do.
    async fn wait_for_work(
        &self,
        session: &mut PgListener,
        pause: Duration,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause.clamp(Duration::from_millis(1), POLL_INTERVAL)) => {}
            () = self.notifier.notified() => {}
            woken = session.try_recv() => {
                if woken?.is_none() {
                    return Err(RelayError::DatabaseSessionLost);
                }
            }
        }
        // One look serves all that came meanwhile.
        while session.next_buffered().is_some() {}
        Ok(())
    }
}
