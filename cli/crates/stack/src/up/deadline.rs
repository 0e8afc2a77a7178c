//! When a run has to be done.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The time that a run has.
#[derive(Debug, Clone)]
pub(super) struct RunDeadline {
    /// How long the components may take, once the images are there.
    pub wait_timeout: Duration,
    /// How many images are still to come, and when the last one came.
    pub pending_images: watch::Receiver<(usize, Instant)>,
}

impl RunDeadline {
    /// When all has to be ready. The run's time begins when the last image is there: a build
    /// takes as long as it takes.
    pub(super) fn instant(&self) -> Instant {
        let (left, at) = *self.pending_images.borrow();
        let began = if left == 0 { at } else { Instant::now() };
        began + self.wait_timeout
    }
}
