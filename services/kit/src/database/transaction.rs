//! Transactions that can write events.

use std::ops::{Deref, DerefMut};

use sqlx::postgres::{PgConnection, PgPool, Postgres};

use super::lists::Lists;
use crate::relay_notifier::RelayNotifier;

/// The database of a service: its connection pool, transactions whose commit notifies the relay
/// of their events, and the separate connections of lists.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    notifier: RelayNotifier,
    lists: Lists,
}

impl Database {
    pub(crate) const fn new(pool: PgPool, notifier: RelayNotifier, lists: Lists) -> Self {
        Self {
            pool,
            notifier,
            lists,
        }
    }

    /// Returns a database whose lists use the connections of `pool` as well, with at most 1,000
    /// items in a response to a request without `limit`. No relay is notified of events: the one
    /// of the schema, if there is one, finds them when it polls.
    #[must_use]
    pub fn from_pool(pool: PgPool) -> Self {
        let lists = Lists::new(pool.clone(), Lists::DEFAULT_MAX_ROWS);
        Self::new(pool, RelayNotifier::default(), lists)
    }

    /// Returns the connections of lists.
    pub(crate) const fn lists(&self) -> &Lists {
        &self.lists
    }

    /// Begins a transaction. It is rolled back when it is dropped.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if no connection is available.
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

/// A transaction that can write events.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    notifier: RelayNotifier,
    has_events: bool,
}

impl Transaction {
    /// Commits the transaction, and notifies the relay if it contains events.
    ///
    /// # Errors
    /// Returns [`sqlx::Error`] if the commit fails, or if the connection is lost: then it is
    /// unknown whether the transaction is committed.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let committed = self.inner.commit().await;
        // Also after an error: the transaction may have been committed.
        if self.has_events {
            self.notifier.notify();
        }
        committed
    }

    /// Marks that the transaction contains events.
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
