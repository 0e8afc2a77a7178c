//! When a run has to be done.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The time that a run has.
#[derive(Debug, Clone)]
pub(super) struct Time {
    /// How long the components may take, once the images are there.
    pub wait: Duration,
    /// How many images are still to come, and when the last one came.
    pub images_done: watch::Receiver<(usize, Instant)>,
}

impl Time {
    /// When all has to be ready. The run's time begins when the last image is there: a build
    /// takes as long as it takes.
    pub(super) fn deadline(&self) -> Instant {
        let (left, at) = *self.images_done.borrow();
        let began = if left == 0 { at } else { Instant::now() };
        began + self.wait
    }
}
