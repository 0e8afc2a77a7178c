//! The progress of saving or loading an archive.

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::progress::{ImageProgress, ProgressUpdate};

/// The name under which the progress is reported.
pub(super) const PROGRESS_NAME: &str = "images";

/// Reports the progress of a transfer, and ends it when it is interrupted.
pub(super) struct TransferProgress {
    pub(super) progress: Arc<dyn ImageProgress>,
    pub(super) cancel: CancellationToken,
    pub(super) activity: &'static str,
    pub(super) total: Option<u64>,
}

impl TransferProgress {
    pub(super) fn report(&mut self, done: u64) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        self.progress.on_progress(
            PROGRESS_NAME,
            ProgressUpdate::new(self.activity).with_bytes(done, self.total),
        );
        Ok(())
    }
}
