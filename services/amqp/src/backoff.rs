//! Delays between attempts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// Delays that double up to a maximum. Each lasts between half of its length and its full
/// length, at random, so that clients of one server do not retry at the same instant.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
    max_delay: Duration,
}

impl Backoff {
    /// Creates delays from `initial_delay` to `max_delay`.
    #[must_use]
    pub fn new(initial_delay: Duration, max_delay: Duration) -> Self {
        // Jitter adds up to the length of the delay itself.
        let builder = ExponentialBuilder::new()
            .with_min_delay(initial_delay / 2)
            .with_max_delay(max_delay / 2)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self {
            builder,
            delays: builder.build(),
            max_delay,
        }
    }

    /// Returns the next delay.
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.max_delay)
    }

    /// Starts again with the initial delay.
    pub(crate) fn reset(&mut self) {
        self.delays = self.builder.build();
    }

    /// Waits for the next delay. Returns `false` if `stop` was cancelled first.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let delay = self.next_delay();
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_double_up_to_the_maximum(initial in 1_u64..500, times in 1_u32..8, count in 1_u32..20) {
            let initial = Duration::from_millis(initial);
            let max = initial * 2_u32.pow(times);
            let mut backoff = Backoff::new(initial, max);
            for _ in 0..2 {
                for index in 0..count {
                    let full = initial.saturating_mul(2_u32.pow(index)).min(max);
                    let delay = backoff.next_delay();
                    // Floating-point arithmetic costs a microsecond at most.
                    let slack = Duration::from_micros(1) + full / 1_000_000;
                    prop_assert!(delay + slack >= full / 2, "{delay:?} of {full:?}");
                    prop_assert!(delay <= full + slack, "{delay:?} of {full:?}");
                }
                backoff.reset();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wait_returns_false_at_once_if_stopped() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let stop = CancellationToken::new();
        assert!(backoff.wait(&stop).await);
        stop.cancel();
        let started_at = tokio::time::Instant::now();
        assert!(!backoff.wait(&stop).await);
        assert!(started_at.elapsed().is_zero());
    }
}
