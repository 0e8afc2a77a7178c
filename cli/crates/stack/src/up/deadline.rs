//! The deadline of a run.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The deadline of a run, which depends on its images.
#[derive(Debug, Clone)]
pub(super) struct RunDeadline {
    /// How long the components may take, once the images are available.
    pub wait_timeout: Duration,
    /// The number of remaining images, and the time at which the last one became available.
    pub pending_images: watch::Receiver<(usize, Instant)>,
}

impl RunDeadline {
    /// Returns the instant at which every component has to be ready. The timeout starts when
    /// the last image is available: builds have no time limit.
    pub(super) fn instant(&self) -> Instant {
        let (remaining, changed_at) = *self.pending_images.borrow();
        let started_at = if remaining == 0 {
            changed_at
        } else {
            Instant::now()
        };
        started_at + self.wait_timeout
    }

    /// Waits until the deadline has passed. It moves while images are pending.
    pub(super) async fn passed(&self) {
        loop {
            let deadline = self.instant();
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}
