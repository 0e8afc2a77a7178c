//! Limits the number of open connections.
//!
//! If the limit is reached, a new connection evicts the connection that has been idle for the
//! longest time, so that idle clients cannot keep others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The connection slots of a server.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter {
    inner: Arc<Mutex<LimiterState>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct LimiterState {
    /// Number of open connections, busy or idle.
    open_connections: usize,
    next_idle_number: u64,
    /// The idle connections, in the order in which they became idle.
    idle: BTreeMap<u64, CancellationToken>,
}

/// The slot of a connection. Dropping it frees it.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limiter: ConnectionLimiter,
    eviction: CancellationToken,
    idle_number: Mutex<Option<u64>>,
}

/// Marks a connection as busy with a request until it is dropped.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<ConnectionSlot>);

impl ConnectionLimiter {
    /// Creates a limiter with this number of slots.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            inner: Arc::default(),
            capacity,
        }
    }

    /// Returns a slot for a new connection, or `None` if all connections are busy.
    pub(super) fn acquire(&self) -> Option<Arc<ConnectionSlot>> {
        let mut inner = self.lock();
        if inner.open_connections >= self.capacity {
            let (_, eviction) = inner.idle.pop_first()?;
            eviction.cancel();
        }
        inner.open_connections += 1;
        let slot = ConnectionSlot {
            limiter: self.clone(),
            eviction: CancellationToken::new(),
            idle_number: Mutex::default(),
        };
        slot.mark_idle(&mut inner);
        Some(Arc::new(slot))
    }

    fn lock(&self) -> MutexGuard<'_, LimiterState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// Waits until the connection is evicted.
    pub(super) async fn evicted(&self) {
        self.eviction.cancelled().await;
    }

    /// Marks the connection as busy with a request.
    pub(super) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        let mut inner = self.limiter.lock();
        self.clear_idle(&mut inner);
        RequestGuard(Arc::clone(self))
    }

    fn mark_idle(&self, inner: &mut LimiterState) {
        let number = inner.next_idle_number;
        inner.next_idle_number += 1;
        inner.idle.insert(number, self.eviction.clone());
        *self.lock_idle_number() = Some(number);
    }

    fn clear_idle(&self, inner: &mut LimiterState) {
        if let Some(number) = self.lock_idle_number().take() {
            inner.idle.remove(&number);
        }
    }

    fn lock_idle_number(&self) -> MutexGuard<'_, Option<u64>> {
        self.idle_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut inner = self.limiter.lock();
        self.clear_idle(&mut inner);
        inner.open_connections -= 1;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut inner = self.0.limiter.lock();
        self.0.mark_idle(&mut inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_idle_connection_is_evicted() {
        let limiter = ConnectionLimiter::new(2);
        let first = limiter.acquire().unwrap();
        let second = limiter.acquire().unwrap();
        // After a request of the first one, the second one has been idle for longer.
        drop(first.begin_request());
        let third = limiter.acquire().unwrap();
        assert!(second.eviction.is_cancelled());
        assert!(!first.eviction.is_cancelled() && !third.eviction.is_cancelled());
    }

    #[test]
    fn busy_connection_is_not_evicted() {
        let limiter = ConnectionLimiter::new(1);
        let first = limiter.acquire().unwrap();
        let busy = first.begin_request();
        assert!(limiter.acquire().is_none());
        assert!(!first.eviction.is_cancelled());
        drop((busy, first));
        let next = limiter.acquire().unwrap();
        assert!(!next.eviction.is_cancelled());
        assert_eq!(limiter.lock().idle.len(), 1);
    }

    #[test]
    fn dropped_slot_and_guard_free_the_slot() {
        let limiter = ConnectionLimiter::new(3);
        for _ in 0..100 {
            let slot = limiter.acquire().unwrap();
            let busy = slot.begin_request();
            drop(slot);
            drop(busy);
        }
        let inner = limiter.lock();
        assert_eq!((inner.open_connections, inner.idle.len()), (0, 0));
    }
}
