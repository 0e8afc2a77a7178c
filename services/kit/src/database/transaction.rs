//! Transactions that may write events.

use std::ops::{Deref, DerefMut};

use sqlx::postgres::{PgConnection, PgPool, Postgres};

use crate::relay_notifier::RelayNotifier;

/// A service's database: its connections, and transactions whose events are relayed
/// as soon as they are committed.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    notifier: RelayNotifier,
}

impl Database {
    pub(crate) const fn new(pool: PgPool, waker: RelayNotifier) -> Self {
        Self {
            pool,
            notifier: waker,
        }
    }

    /// Begins a transaction. It is rolled back when it is dropped.
    ///
    /// # Errors
    /// Where there is no connection to be had.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        Ok(Transaction {
            inner: self.pool.begin().await?,
            notifier: self.notifier.clone(),
            has_events: false,
        })
    }
}

impl Deref for Database {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.pool
    }
}

/// A transaction that may write events.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    notifier: RelayNotifier,
    has_events: bool,
}

impl Transaction {
    /// Commits it, and wakes the relay if there are events in it.
    ///
    /// # Errors
    /// Where the database refuses, or can't be asked any more: then nobody knows
    /// whether it is committed.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let committed = self.inner.commit().await;
        // What may have been committed may have to be relayed.
        if self.has_events {
            self.notifier.notify();
        }
        committed
    }

    /// Notes that there are events in it.
    pub(crate) fn mark_has_events(&mut self) {
        self.has_events = true;
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}
