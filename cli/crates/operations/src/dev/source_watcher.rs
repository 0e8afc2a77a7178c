//! Waits until the sources differ from those of the last build.

use std::path::{Path, PathBuf};

use dm_core::error::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::file_watcher::{ChangedFiles, FileWatcher};
use super::source_state::SourceState;

/// Watches the sources and remembers the state of the last build.
pub struct SourceWatcher {
    root: PathBuf,
    file_watcher: FileWatcher,
    last_built: SourceState,
}

impl SourceWatcher {
    /// Starts to watch the sources in the project directory. Their current state counts as
    /// built. Must be called before the first build, so that no change is missed.
    ///
    /// # Errors
    /// If the sources cannot be read or watched.
    pub fn start(root: &Path) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            file_watcher: FileWatcher::new(root)?,
            last_built: SourceState::read(root)?,
        })
    }

    /// Waits until the sources differ from those of the last build. The new state then counts
    /// as built. Returns the changed files and the time of the change, or `None` if the wait
    /// was interrupted.
    ///
    /// # Errors
    /// If the sources cannot be read or watched.
    pub async fn wait_for_change(
        &mut self,
        interrupt: &CancellationToken,
    ) -> Result<Option<(ChangedFiles, Instant)>> {
        loop {
            let changed = tokio::select! {
                () = interrupt.cancelled() => return Ok(None),
                changed = self.file_watcher.next_change() => changed?,
            };
            let changed_at = Instant::now();
            let current = SourceState::read(&self.root)?;
            // A file that was written with the same content is not a change.
            if current != self.last_built {
                self.last_built = current;
                return Ok(Some((changed, changed_at)));
            }
        }
    }
}
