//! The relay, which publishes the events of the outbox.

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

/// Maximum number of events that are read at once: small ones with their envelope, the others
/// without.
const BATCH_SIZE: u16 = 2000;

/// Settings of the relay's session. It only marks events as published. If the database server
/// crashes and loses a mark, the event is sent again, so a mark need not wait for the disk.
const SESSION_SETTINGS: [(&str, &str); 1] = [("synchronous_commit", "off")];

/// Poll interval. A process can be killed between its commit and the notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which a standby process tries to take the lock.
const STANDBY_INTERVAL: Duration = Duration::from_millis(500);

/// Interval at which a standby process logs the holder of the lock.
const REMINDER_INTERVAL: Duration = Duration::from_secs(30);

/// Timeout for closing the database session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Publishes the events of the outbox of one schema.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The schema of the outbox.
    pub schema: &'static str,
    /// Connection options of the database.
    pub database: PgConnectOptions,
    /// The broker.
    pub broker: BrokerConnector,
    /// Whether the broker is connected.
    pub indicator: HealthIndicator,
    /// The metrics of the service.
    pub metrics: Metrics,
    /// Notifies the relay of commits.
    pub(crate) notifier: RelayNotifier,
}

impl Relay {
    /// Relays until the service stops. A failed session is opened again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let isolating = AtomicBool::new(false);
        let on_failure = |error: RelayError| {
            warn!(
                schema = self.schema,
                error.message = %error,
                "relay session failed; reconnecting"
            );
            self.indicator.set(false);
        };
        supervise(&stop, || self.run_session(&isolating, &stop), on_failure).await;
    }

    /// Runs one session, with one connection to the database and one to the broker.
    async fn run_session(
        &self,
        isolating: &AtomicBool,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let publisher = Arc::new(self.broker.open_publisher("relay", CHANNELS).await?);
        self.indicator.set(true);
        // A separate pool that is closed with the session: the lock is released together with
        // the session, so that a relay without the lock cannot mark any events.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(self.database.clone().options(SESSION_SETTINGS))
            .await?;
        let result = self.relay_events(&pool, &publisher, isolating, stop).await;
        self.set_relaying(false);
        publisher.close().await;
        // An unreachable session cannot be closed, and need not be: the server ends it.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await;
        result
    }

    async fn relay_events(
        &self,
        pool: &PgPool,
        publisher: &Arc<Publisher>,
        isolating: &AtomicBool,
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
        info!(schema = self.schema, "started relaying the outbox");
        self.set_relaying(true);
        while !stop.is_cancelled() {
            if !publisher.is_connected() {
                return Err(RelayError::BrokerConnectionLost);
            }
            // No events are read that could not be sent.
            if publisher.is_blocked() {
                self.wait_for_work(&mut session, POLL_INTERVAL, stop)
                    .await?;
                continue;
            }
            let PendingBatch {
                due,
                next_due_in,
                complete,
            } = with_query_timeout(read_pending(&mut session, BATCH_SIZE)).await?;
            if !due.is_empty() {
                fail_point::reached("relay.claimed").await;
            }
            let batch_publisher = BatchPublisher {
                session: &mut session,
                publisher,
                metrics: &self.metrics,
                isolating,
            };
            let next_retry_in = batch_publisher.publish(due).await?;
            // Later commits notify this relay, so it need not read again if all pending rows were
            // read.
            if complete {
                let timeout = [next_due_in, next_retry_in]
                    .into_iter()
                    .flatten()
                    .min()
                    .unwrap_or(POLL_INTERVAL);
                self.wait_for_work(&mut session, timeout, stop).await?;
            }
        }
        Ok(())
    }

    /// Tries to take the lock of the schema's relay. Returns whether this session holds it.
    async fn try_lock(&self, session: &mut PgListener) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('outbox'), hashtext($1))")
            .bind(self.schema)
            .fetch_one(session)
            .await
    }

    /// Logs the session that holds the lock. Every role of the database can take it: while a
    /// session that is not a relay holds it, no events are published.
    async fn log_lock_holder(&self, session: &mut PgListener) -> Result<(), RelayError> {
        let schema = self.schema;
        let Some(holder) = with_query_timeout(store::find_lock_holder(session, schema)).await?
        else {
            return Ok(());
        };
        let (pid, role) = (holder.pid, holder.role.unwrap_or_default());
        let application = holder.application.unwrap_or_default();
        if holder.has_own_role {
            info!(
                schema,
                lock_holder_pid = pid,
                lock_holder_role = role,
                lock_holder_application = application,
                "another session relays the outbox"
            );
        } else {
            warn!(
                schema,
                lock_holder_pid = pid,
                lock_holder_role = role,
                lock_holder_application = application,
                "a session that is not a relay holds the lock of the outbox; nothing is published"
            );
        }
        Ok(())
    }

    /// Sets whether this process relays.
    fn set_relaying(&self, is_relaying: bool) {
        self.notifier.set_relaying(is_relaying);
        self.metrics.relaying.set(is_relaying.into());
    }

    /// Waits for a notification, at most `timeout` and [`POLL_INTERVAL`].
    async fn wait_for_work(
        &self,
        session: &mut PgListener,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(timeout.clamp(Duration::from_millis(1), POLL_INTERVAL)) => {}
            () = self.notifier.notified() => {}
            notification = session.try_recv() => {
                if notification?.is_none() {
                    return Err(RelayError::DatabaseSessionLost);
                }
            }
        }
        // One read covers all notifications that arrived in the meantime.
        while session.next_buffered().is_some() {}
        Ok(())
    }
}
