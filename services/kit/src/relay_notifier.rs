//! Notifies the relay of committed events.
//!
//! The transaction itself does not use `NOTIFY`: its commit would take a lock of the whole
//! database server and hold it until the write-ahead log is on disk, so that all commits
//! with an event, of all services, would be serialised, each with its own wait for the disk
//! (`PreCommit_Notify` in PostgreSQL's `src/backend/commands/async.c`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Notifies the relay of a schema, in this process or in another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayNotifier(Arc<NotifierState>);

#[derive(Debug, Default)]
struct NotifierState {
    local: Notify,
    remote: Notify,
    is_relaying: AtomicBool,
}

impl RelayNotifier {
    /// Sets whether this process relays the outbox.
    pub(crate) fn set_relaying(&self, is_relaying: bool) {
        self.0.is_relaying.store(is_relaying, Ordering::Release);
    }

    /// Notifies the relay of a commit. Notifications that have not been received are merged.
    pub(crate) fn notify(&self) {
        if self.0.is_relaying.load(Ordering::Acquire) {
            self.0.local.notify_one();
        } else {
            self.0.remote.notify_one();
        }
    }

    /// Waits for a notification. Returns at once if there is one that has not been received.
    pub(crate) async fn notified(&self) {
        self.0.local.notified().await;
    }

    /// Forwards notifications to the process that relays, until the service stops. It uses
    /// `NOTIFY` in a separate transaction, which writes nothing to disk. If a notification is
    /// lost, the relay finds the events within a second, when it polls.
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
            let notified = sqlx::query("SELECT pg_notify($1, '')")
                .bind(&channel)
                .execute(&pool)
                .await;
            if let Err(error) = notified {
                debug!(error.message = %error, "could not notify the relay");
            }
        }
    }
}

/// Returns the `NOTIFY` channel of a schema's relay.
pub(crate) fn notify_channel(schema: &str) -> String {
    format!("outbox.{schema}")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn notifications_are_merged_and_stay_local_while_relaying() {
        let notifier = RelayNotifier::default();
        notifier.set_relaying(true);
        notifier.notify();
        notifier.notify();
        assert!(notifier.notified().now_or_never().is_some());
        assert!(
            notifier.notified().now_or_never().is_none(),
            "the notifications were not merged"
        );
        assert!(notifier.0.remote.notified().now_or_never().is_none());
    }

    #[tokio::test]
    async fn notification_is_remote_while_not_relaying() {
        let notifier = RelayNotifier::default();
        notifier.notify();
        assert!(notifier.notified().now_or_never().is_none());
        assert!(notifier.0.remote.notified().now_or_never().is_some());
        notifier.set_relaying(true);
        notifier.set_relaying(false);
        notifier.notify();
        assert!(notifier.0.remote.notified().now_or_never().is_some());
    }
}
