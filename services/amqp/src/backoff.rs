//! Pauses between attempts.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// Pauses that double up to a longest one. Each lasts between half of its length and all of
/// it, at random, so that those who wait for the same server don't come back together.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
    max_delay: Duration,
}

impl Backoff {
    /// Pauses from the first to the longest one.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        // The random part that is added is as long as what it is added to.
        let builder = ExponentialBuilder::new()
            .with_min_delay(first / 2)
            .with_max_delay(longest / 2)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self {
            builder,
            delays: builder.build(),
            max_delay: longest,
        }
    }

    /// How long the next pause lasts.
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.max_delay)
    }

    /// Begins with the first pause again.
    pub(crate) fn reset(&mut self) {
        self.delays = self.builder.build();
    }

    /// Waits for the next pause. False where it was asked to stop first.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let pause = self.next_delay();
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_double_up_to_the_longest(first in 1_u64..500, times in 1_u32..8, count in 1_u32..20) {
            let first = Duration::from_millis(first);
            let longest = first * 2_u32.pow(times);
            let mut backoff = Backoff::new(first, longest);
            for _ in 0..2 {
                for at in 0..count {
                    let whole = first.saturating_mul(2_u32.pow(at)).min(longest);
                    let pause = backoff.next_delay();
                    // Floats on the way cost a microsecond at most.
                    let slack = Duration::from_micros(1) + whole / 1_000_000;
                    prop_assert!(pause + slack >= whole / 2, "{pause:?} of {whole:?}");
                    prop_assert!(pause <= whole + slack, "{pause:?} of {whole:?}");
                }
                backoff.reset();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_does_not_wait() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let stop = CancellationToken::new();
        assert!(backoff.wait(&stop).await);
        stop.cancel();
        let began = tokio::time::Instant::now();
        assert!(!backoff.wait(&stop).await);
        assert!(began.elapsed().is_zero());
    }
}
