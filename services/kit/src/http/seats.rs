//! How many connections there may be at once.
//!
//! A connection without a request gives way to a new one, the one that has been so for
//! longest first: whoever opens connections and says nothing can't keep others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The seats of a server.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    inner: Arc<Mutex<Inner>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// How many connections there are, busy or not.
    taken: usize,
    next: u64,
    /// Those without a request, in the order in which they became so.
    idle: BTreeMap<u64, CancellationToken>,
}

/// A connection's seat. It is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    given_up: CancellationToken,
    idle: Mutex<Option<u64>>,
}

/// A request is under way on a connection until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Seats {
    /// So many seats.
    pub(super) fn new(most: usize) -> Self {
        Self {
            inner: Arc::default(),
            most,
        }
    }

    /// A seat for a new connection; `None` where every other one is busy.
    pub(super) fn take(&self) -> Option<Arc<Seat>> {
        let mut inner = self.lock();
        if inner.taken >= self.most {
            let (_, given_up) = inner.idle.pop_first()?;
            given_up.cancel();
        }
        inner.taken += 1;
        let seat = Seat {
            seats: self.clone(),
            given_up: CancellationToken::new(),
            idle: Mutex::default(),
        };
        seat.rest(&mut inner);
        Some(Arc::new(seat))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until the connection has to give way.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// Notes that a request is under way.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut inner = self.seats.lock();
        self.leave(&mut inner);
        Busy(Arc::clone(self))
    }

    fn rest(&self, inner: &mut Inner) {
        let number = inner.next;
        inner.next += 1;
        inner.idle.insert(number, self.given_up.clone());
        *self.place() = Some(number);
    }

    fn leave(&self, inner: &mut Inner) {
        if let Some(number) = self.place().take() {
            inner.idle.remove(&number);
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<u64>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.seats.lock();
        self.leave(&mut inner);
        inner.taken -= 1;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut inner = self.0.seats.lock();
        self.0.rest(&mut inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_been_silent_for_longest_gives_way() {
        let seats = Seats::new(2);
        let first = seats.take().unwrap();
        let second = seats.take().unwrap();
        // The first one asks something: then the second one has been silent for longer.
        drop(first.busy());
        let third = seats.take().unwrap();
        assert!(second.given_up.is_cancelled());
        assert!(!first.given_up.is_cancelled() && !third.given_up.is_cancelled());
    }

    #[test]
    fn who_is_busy_keeps_the_seat() {
        let seats = Seats::new(1);
        let first = seats.take().unwrap();
        let busy = first.busy();
        assert!(seats.take().is_none());
        assert!(!first.given_up.is_cancelled());
        drop((busy, first));
        let next = seats.take().unwrap();
        assert!(!next.given_up.is_cancelled());
        assert_eq!(seats.lock().idle.len(), 1);
    }

    #[test]
    fn a_seat_is_free_again_whatever_happened() {
        let seats = Seats::new(3);
        for _ in 0..100 {
            let seat = seats.take().unwrap();
            let busy = seat.busy();
            drop(seat);
            drop(busy);
        }
        let inner = seats.lock();
        assert_eq!((inner.taken, inner.idle.len()), (0, 0));
    }
}
