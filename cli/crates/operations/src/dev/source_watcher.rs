//! The sources as they were built last, and the wait for others.

use std::path::{Path, PathBuf};

use dm_core::error::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::file_watcher::{ChangedFiles, FileWatcher};
use super::source_state::SourceState;

/// The sources as they were built last.
pub struct SourceWatcher {
    root: PathBuf,
    file_watcher: FileWatcher,
    last_built: SourceState,
}

impl SourceWatcher {
    /// Watches the sources below the project's folder from now on, and takes them for built.
    /// To be called before the first build, so that no change is missed.
    ///
    /// # Errors
    /// They can't be read or watched.
    pub fn start(root: &Path) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            file_watcher: FileWatcher::new(root)?,
            last_built: SourceState::read(root)?,
        })
    }

    /// Waits until the sources are others than those that were built, and takes them for
    /// built. Answers what changed and when that was seen; nothing where the wait is
    /// interrupted.
    ///
    /// # Errors
    /// They can't be read or watched any more.
    pub async fn wait_for_change(
        &mut self,
        interrupt: &CancellationToken,
    ) -> Result<Option<(ChangedFiles, Instant)>> {
        loop {
            let changed = tokio::select! {
                () = interrupt.cancelled() => return Ok(None),
                changed = self.file_watcher.next_change() => changed?,
            };
            let seen = Instant::now();
            let now = SourceState::read(&self.root)?;
            // A file that was written and says what it said before is no change.
            if now != self.last_built {
                self.last_built = now;
                return Ok(Some((changed, seen)));
            }
        }
    }
}
