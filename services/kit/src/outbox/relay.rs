//! The relay: from the outbox to the broker.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dm_amqp::supervise;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::delivery::{CHANNELS, Delivery};
use super::error::{RelayError, in_time};
use super::look::{Look, look};
use super::store;
use crate::broker::{Broker, Publisher};
use crate::fail_point;
use crate::http::Indicator;
use crate::telemetry::Metrics;
use crate::waker::{Waker, channel};

/// How many events are read at once: what is small whole, of the rest the heading.
const BATCH: u16 = 2000;

/// A mark that is lost when the database server crashes costs no more than sending the
/// event again, and so needn't wait for the disk. Nothing else is written here.
const MARKS: [(&str, &str); 1] = [("synchronous_commit", "off")];

/// How long to trust in being woken: who commits can be killed before the call.
const POLL: Duration = Duration::from_secs(1);

/// How often an instance that doesn't relay asks whether it should.
const STANDBY: Duration = Duration::from_millis(500);

/// How long to stand by until it is said who relays, and how often it is said again.
const REMIND: Duration = Duration::from_secs(30);

/// How long to wait for the database's goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Publishes what is in the outbox.
#[derive(Debug)]
pub(crate) struct Relay {
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

impl Relay {
    /// Relays until it is asked to stop; whatever breaks is set up again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let careful = AtomicBool::new(false);
        let broken = |error: RelayError| {
            warn!(%error, "the relay restarts");
            self.indicator.set(false);
        };
        supervise(&stop, || self.session(&careful, &stop), broken).await;
    }

    /// One session with the database and one with the broker.
    async fn session(
        &self,
        careful: &AtomicBool,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let publisher = Arc::new(self.broker.publisher("relay", CHANNELS).await?);
        self.indicator.set(true);
        // Of its own, and closed with it: the lock lives as long as the session, and
        // whoever lost it can't mark anything any more.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(self.database.clone().options(MARKS))
            .await?;
        let result = self.relay(&pool, &publisher, careful, stop).await;
        self.relays(false);
        publisher.close().await;
        // A session that is cut off can't be closed, and needn't be: the server ends it.
        let _ = tokio::time::timeout(GOODBYE, pool.close()).await;
        result
    }

    async fn relay(
        &self,
        pool: &PgPool,
        publisher: &Arc<Publisher>,
        careful: &AtomicBool,
        stop: &CancellationToken,
    ) -> Result<(), RelayError> {
        let mut session = in_time(PgListener::connect_with(pool)).await?;
        session.eager_reconnect(false);
        session.ignore_pool_close_event(true);
        in_time(session.listen(&channel(self.schema))).await?;
        let mut reminder = Instant::now() + REMIND;
        while !in_time(self.lock(&mut session)).await? {
            if Instant::now() >= reminder {
                reminder += REMIND;
                self.tell_who_relays(&mut session).await?;
            }
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
            } = in_time(look(&mut session, BATCH)).await?;
            if !due.is_empty() {
                fail_point::reached("relay.claimed").await;
            }
            let delivery = Delivery {
                session: &mut session,
                publisher,
                metrics: &self.metrics,
                careful,
            };
            let again = delivery.publish(due).await?;
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

    /// Says which session has the lock. Every role of the database can take it: one that
    /// is no relay of this schema keeps its events in the outbox.
    async fn tell_who_relays(&self, session: &mut PgListener) -> Result<(), RelayError> {
        let schema = self.schema;
        let Some(holder) = in_time(store::holder(session, schema)).await? else {
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
}
