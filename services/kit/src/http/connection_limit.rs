//! How many connections there may be at once.
//!
//! A connection without a request gives way to a new one, the one that has been so for
//! longest first: whoever opens connections and says nothing can't keep others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The seats of a server.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter {
    inner: Arc<Mutex<LimiterState>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct LimiterState {
    /// How many connections there are, busy or not.
    open_connections: usize,
    next_idle_number: u64,
    /// Those without a request, in the order in which they became so.
    idle: BTreeMap<u64, CancellationToken>,
}

/// A connection's seat. It is free again when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limiter: ConnectionLimiter,
    eviction: CancellationToken,
    idle_number: Mutex<Option<u64>>,
}

/// A request is under way on a connection until this is dropped.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<ConnectionSlot>);

impl ConnectionLimiter {
    /// So many seats.
    pub(super) fn new(most: usize) -> Self {
        Self {
            inner: Arc::default(),
            capacity: most,
        }
    }

    /// A seat for a new connection; `None` where every other one is busy.
    pub(super) fn acquire(&self) -> Option<Arc<ConnectionSlot>> {
        let mut inner = self.lock();
        if inner.open_connections >= self.capacity {
            let (_, given_up) = inner.idle.pop_first()?;
            given_up.cancel();
        }
        inner.open_connections += 1;
        let seat = ConnectionSlot {
            limiter: self.clone(),
            eviction: CancellationToken::new(),
            idle_number: Mutex::default(),
        };
        seat.mark_idle(&mut inner);
        Some(Arc::new(seat))
    }

    fn lock(&self) -> MutexGuard<'_, LimiterState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// Waits until the connection has to give way.
    pub(super) async fn evicted(&self) {
        self.eviction.cancelled().await;
    }

    /// Notes that a request is under way.
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
    fn who_has_been_silent_for_longest_gives_way() {
        let seats = ConnectionLimiter::new(2);
        let first = seats.acquire().unwrap();
        let second = seats.acquire().unwrap();
        // The first one asks something: then the second one has been silent for longer.
        drop(first.begin_request());
        let third = seats.acquire().unwrap();
        assert!(second.eviction.is_cancelled());
        assert!(!first.eviction.is_cancelled() && !third.eviction.is_cancelled());
    }

    #[test]
    fn who_is_busy_keeps_the_seat() {
        let seats = ConnectionLimiter::new(1);
        let first = seats.acquire().unwrap();
        let busy = first.begin_request();
        assert!(seats.acquire().is_none());
        assert!(!first.eviction.is_cancelled());
        drop((busy, first));
        let next = seats.acquire().unwrap();
        assert!(!next.eviction.is_cancelled());
        assert_eq!(seats.lock().idle.len(), 1);
    }

    #[test]
    fn a_seat_is_free_again_whatever_happened() {
        let seats = ConnectionLimiter::new(3);
        for _ in 0..100 {
            let seat = seats.acquire().unwrap();
            let busy = seat.begin_request();
            drop(seat);
            drop(busy);
        }
        let inner = seats.lock();
        assert_eq!((inner.open_connections, inner.idle.len()), (0, 0));
    }
}
