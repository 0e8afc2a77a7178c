//! Decides when the realm is asked again whether a user may stay signed in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};

/// The time by which a check may be overdue without delaying requests. Within it, requests continue
/// while the check runs.
const GRACE: Duration = Duration::from_secs(10);

/// The maximum time for which a request waits for an overdue check: the realm's own timeout is
/// shorter.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The time between two checks while the realm does not respond.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The result of a check, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckResult {
    /// The realm has decided.
    Decided,
    /// The realm could not be reached.
    Undecided,
}

/// The schedule of the checks of one session or token. At most one check runs at once.
#[derive(Debug)]
pub(crate) struct RealmCheck {
    interval: Duration,
    due_at: Mutex<Instant>,
    /// Locked while a check runs.
    running: Arc<AsyncMutex<()>>,
}

impl RealmCheck {
    /// Creates the schedule of a session or token that the realm confirmed `age` ago. A check is
    /// due when the last confirmation is older than `interval`, and overdue from the beginning if
    /// it is much older: the first request waits for it then.
    #[must_use]
    pub(crate) fn new(interval: Duration, age: Duration) -> Self {
        let now = Instant::now();
        // More than the grace makes no difference, and could be before the zero of the clock.
        let overdue = age.saturating_sub(interval).min(GRACE);
        let due_at = now + interval.saturating_sub(age);
        Self {
            interval,
            due_at: Mutex::new(due_at.checked_sub(overdue).unwrap_or(now)),
            running: Arc::default(),
        }
    }

    /// Runs a check if one is due. It runs in the background, so that requests are not delayed,
    /// unless it is overdue by more than [`GRACE`].
    pub(crate) async fn run_if_due<C, F>(self: &Arc<Self>, check: C)
    where
        C: FnOnce() -> F,
        F: Future<Output = CheckResult> + Send + 'static,
    {
        let Some(overdue) = self.overdue() else {
            return;
        };
        if let Ok(permit) = Arc::clone(&self.running).try_lock_owned() {
            // Another check may have ended in the meantime.
            if self.overdue().is_none() {
                return;
            }
            let (schedule, check) = (Arc::clone(self), check());
            // A separate task: a client that disconnects must not cancel the check.
            tokio::spawn(async move {
                let result = check.await;
                schedule.schedule_next(result);
                drop(permit);
            });
        }
        if overdue >= GRACE {
            drop(timeout(MAX_WAIT, self.running.lock()).await);
        }
    }

    /// Returns the time by which the next check is overdue, or `None` if none is due.
    fn overdue(&self) -> Option<Duration> {
        let due_at = *self.due_at.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now().checked_duration_since(due_at)
    }

    fn schedule_next(&self, result: CheckResult) {
        let delay = match result {
            CheckResult::Decided => self.interval,
            CheckResult::Undecided => self.interval.min(RETRY_INTERVAL),
        };
        *self.due_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + delay;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Counts checks, each of which lasts until it is released.
    #[derive(Default)]
    struct Counter {
        begun: AtomicUsize,
        release: Notify,
    }

    impl Counter {
        async fn run(self: &Arc<Self>, check: &Arc<RealmCheck>) {
            let counter = Arc::clone(self);
            check
                .run_if_due(|| async move {
                    counter.begun.fetch_add(1, Ordering::Relaxed);
                    counter.release.notified().await;
                    CheckResult::Decided
                })
                .await;
        }

        fn count(&self) -> usize {
            self.begun.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn recently_confirmed_user_is_not_checked() {
        let check = Arc::new(RealmCheck::new(Duration::from_secs(45), Duration::ZERO));
        let counter = Arc::new(Counter::default());
        counter.run(&check).await;
        tokio::task::yield_now().await;
        assert_eq!(counter.count(), 0);
    }

    #[tokio::test]
    async fn due_check_runs_once_and_delays_no_request() {
        let check = Arc::new(RealmCheck::new(
            Duration::from_secs(45),
            Duration::from_secs(45),
        ));
        let counter = Arc::new(Counter::default());
        for _ in 0..10 {
            counter.run(&check).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(counter.count(), 1, "checks run at the same time");
        counter.release.notify_one();
        drop(check.running.lock().await);
        counter.run(&check).await;
        tokio::task::yield_now().await;
        assert_eq!(counter.count(), 1, "the next check ran at once");
    }

    #[tokio::test]
    async fn overdue_check_is_awaited_by_all_requests() {
        let check = Arc::new(RealmCheck::new(Duration::ZERO, Duration::ZERO));
        *check.due_at.lock().unwrap() = Instant::now() - GRACE;
        let counter = Arc::new(Counter::default());
        counter.release.notify_one();
        let (first, second) = (counter.run(&check), counter.run(&check));
        tokio::join!(first, second);
        assert!(check.running.try_lock().is_ok(), "a check still runs");
        assert_eq!(counter.count(), 1);
    }

    #[tokio::test]
    async fn first_request_waits_for_the_check_of_a_user_confirmed_long_ago() {
        for age in [Duration::from_secs(55), Duration::MAX] {
            let check = Arc::new(RealmCheck::new(Duration::from_secs(45), age));
            let counter = Arc::new(Counter::default());
            counter.release.notify_one();
            counter.run(&check).await;
            assert_eq!(counter.count(), 1, "{age:?}");
            assert!(check.overdue().is_none(), "{age:?}: the check still runs");
        }
    }

    #[tokio::test]
    async fn realm_that_does_not_respond_is_asked_again_soon() {
        let check = RealmCheck::new(Duration::from_secs(45), Duration::ZERO);
        let wait = |check: &RealmCheck| *check.due_at.lock().unwrap() - Instant::now();
        check.schedule_next(CheckResult::Undecided);
        assert!(wait(&check) <= RETRY_INTERVAL);
        check.schedule_next(CheckResult::Decided);
        assert!(wait(&check) > Duration::from_secs(40));
    }
}
