//! How far a transfer is.

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::progress::{Progress, Update};

/// Under which name the progress is told.
pub(super) const NAME: &str = "images";

/// Tells how far a transfer is, and ends it when it is interrupted.
pub(super) struct Meter {
    pub(super) progress: Arc<dyn Progress>,
    pub(super) cancel: CancellationToken,
    pub(super) doing: &'static str,
    pub(super) total: Option<u64>,
}

impl Meter {
    pub(super) fn tell(&mut self, done: u64) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        self.progress
            .working(NAME, Update::doing(self.doing).bytes(done, self.total));
        Ok(())
    }
}
