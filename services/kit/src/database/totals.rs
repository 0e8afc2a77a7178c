//! Totals of lists, which are not counted for every page.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Maximum age of a total when the request that gets it arrives. Counting a million rows takes
/// much longer than reading a page of them.
const MAX_AGE: Duration = Duration::from_secs(2);

/// Maximum number of totals that are kept. Each filter of a list has its own.
const MAX_TOTALS: usize = 1_000;

/// Identifies a list and its filters.
pub(crate) type TotalKey = [u8; 16];

/// The totals that were counted last.
#[derive(Debug, Clone, Default)]
pub(crate) struct TotalCache(Arc<Mutex<HashMap<TotalKey, TotalSlot>>>);

/// The total of one list. It is locked while it is counted.
type TotalSlot = Arc<tokio::sync::Mutex<Option<CountedTotal>>>;

#[derive(Debug, Clone, Copy)]
struct CountedTotal {
    total: u64,
    /// The time at which counting began.
    begun_at: Instant,
}

impl CountedTotal {
    fn is_fresh_at(self, instant: Instant) -> bool {
        self.begun_at + MAX_AGE >= instant
    }
}

impl TotalCache {
    /// Returns the total of a list. If it is older than `MAX_AGE`, it is counted again; requests
    /// for the same total wait for the first of them, and do not count.
    ///
    /// # Errors
    /// Returns the error of `count`.
    pub(crate) async fn get_or_count<E>(
        &self,
        key: TotalKey,
        count: impl Future<Output = Result<u64, E>>,
    ) -> Result<u64, E> {
        let requested_at = Instant::now();
        let slot = self.slot(key, requested_at);
        let mut counted = slot.lock().await;
        // The age at the arrival of the request: one that waited for a long count gets its result.
        if let Some(known) = *counted
            && known.is_fresh_at(requested_at)
        {
            return Ok(known.total);
        }
        let begun_at = Instant::now();
        let total = count.await?;
        *counted = Some(CountedTotal { total, begun_at });
        Ok(total)
    }

    fn slot(&self, key: TotalKey, now: Instant) -> TotalSlot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_TOTALS && !slots.contains_key(&key) {
            slots.retain(|_, slot| match slot.try_lock() {
                Ok(counted) => counted.is_some_and(|counted| counted.is_fresh_at(now)),
                // It is being counted.
                Err(_) => true,
            });
            if slots.len() >= MAX_TOTALS {
                slots.clear();
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::sleep;

    use super::*;

    const KEY: TotalKey = [1; 16];

    /// Returns the number of this call, after a while.
    async fn count(calls: &AtomicU64, duration: Duration) -> Result<u64, Infallible> {
        let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
        sleep(duration).await;
        Ok(number)
    }

    #[tokio::test(start_paused = true)]
    async fn total_is_counted_again_after_its_maximum_age() {
        let (cache, calls) = (TotalCache::default(), AtomicU64::new(0));
        let get = || cache.get_or_count(KEY, count(&calls, Duration::ZERO));
        assert_eq!(get().await, Ok(1));
        sleep(MAX_AGE - Duration::from_millis(10)).await;
        assert_eq!(get().await, Ok(1));
        sleep(Duration::from_millis(20)).await;
        assert_eq!(get().await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_wait_for_one_count_even_if_it_takes_long() {
        let (cache, calls) = (TotalCache::default(), AtomicU64::new(0));
        let get = || cache.get_or_count(KEY, count(&calls, 3 * MAX_AGE));
        let (first, second) = tokio::join!(get(), get());
        assert_eq!((first, second), (Ok(1), Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn total_of_another_list_is_counted_separately() {
        let (cache, calls) = (TotalCache::default(), AtomicU64::new(0));
        let get = |key| cache.get_or_count(key, count(&calls, Duration::ZERO));
        assert_eq!(get(KEY).await, Ok(1));
        assert_eq!(get([2; 16]).await, Ok(2));
        assert_eq!(get(KEY).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_count_is_not_kept() {
        let cache = TotalCache::default();
        let failed = cache.get_or_count(KEY, async { Err("no connection") });
        assert_eq!(failed.await, Err("no connection"));
        let counted = cache.get_or_count(KEY, async { Ok::<_, &str>(7) });
        assert_eq!(counted.await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_kept_totals_is_limited() {
        let cache = TotalCache::default();
        for number in 0..2_500_u16 {
            let mut key = [0; 16];
            key[..2].copy_from_slice(&number.to_be_bytes());
            let counted = cache.get_or_count(key, async { Ok::<_, Infallible>(1) });
            assert_eq!(counted.await, Ok(1));
        }
        assert!(cache.0.lock().unwrap().len() <= MAX_TOTALS);
    }
}
