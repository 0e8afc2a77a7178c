//! What tells the relay that something was committed.
//!
//! Not the transaction itself by `NOTIFY`: those take a lock of the whole database
//! server at their commit and keep it until the write-ahead log is on disk, so that all
//! commits with an event, of all services, went one after the other, each with a wait
//! for the disk of its own (`PreCommit_Notify` in PostgreSQL's
//! `src/backend/commands/async.c`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Wakes the relay of a schema, in this process or in another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayNotifier(Arc<NotifierState>);

#[derive(Debug, Default)]
struct NotifierState {
    local: Notify,
    remote: Notify,
    is_relaying: AtomicBool,
}

impl RelayNotifier {
    /// Says whether the relay is the one of this process.
    pub(crate) fn set_relaying(&self, here: bool) {
        self.0.is_relaying.store(here, Ordering::Release);
    }

    /// Something was committed. Calls that come together are one.
    pub(crate) fn notify(&self) {
        if self.0.is_relaying.load(Ordering::Acquire) {
            self.0.local.notify_one();
        } else {
            self.0.remote.notify_one();
        }
    }

    /// Waits until there was a call, be it an earlier one that nobody waited for.
    pub(crate) async fn notified(&self) {
        self.0.local.notified().await;
    }

    /// Carries calls to the process that relays until asked to stop. By `NOTIFY` in a
    /// transaction of its own, which has nothing to write to disk. One that is lost
    /// costs the second until the relay looks by itself.
    pub(crate) async fn forward_remote(
        self,
        pool: PgPool,
        schema: &'static str,
        stop: CancellationToken,
    ) {
        let channel = notify_channel(schema);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.remote.notified() => {}
            }
            let called = sqlx::query("SELECT pg_notify($1, '')")
                .bind(&channel)
                .execute(&pool)
                .await;
            if let Err(error) = called {
                debug!(%error, "could not wake the relay");
            }
        }
    }
}

/// The channel on which a schema's relay is woken from outside of its process.
pub(crate) fn notify_channel(schema: &str) -> String {
    format!("outbox.{schema}")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_call_waits_for_whoever_relays_here() {
        let waker = RelayNotifier::default();
        waker.set_relaying(true);
        waker.notify();
        waker.notify();
        assert!(waker.notified().now_or_never().is_some());
        assert!(waker.notified().now_or_never().is_none(), "two are one");
        assert!(waker.0.remote.notified().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_call_goes_elsewhere_where_nobody_relays_here() {
        let waker = RelayNotifier::default();
        waker.notify();
        assert!(waker.notified().now_or_never().is_none());
        assert!(waker.0.remote.notified().now_or_never().is_some());
        waker.set_relaying(true);
        waker.set_relaying(false);
        waker.notify();
        assert!(waker.0.remote.notified().now_or_never().is_some());
    }
}
