//! The sources as they were built last, and the wait for others.

use std::path::{Path, PathBuf};

use dm_core::error::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::state::SourceState;
use super::watch::{Changes, Watch};

/// The sources as they were built last.
pub struct Sources {
    root: PathBuf,
    watch: Watch,
    built: SourceState,
}

impl Sources {
    /// Watches the sources below the project's folder from now on, and takes them for built.
    /// To be called before the first build, so that no change is missed.
    ///
    /// # Errors
    /// They can't be read or watched.
    pub fn watch(root: &Path) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            watch: Watch::new(root)?,
            built: SourceState::read(root)?,
        })
    }

    /// Waits until the sources are others than those that were built, and takes them for
    /// built. Answers what changed and when that was seen; nothing where the wait is
    /// interrupted.
    ///
    /// # Errors
    /// They can't be read or watched any more.
    pub async fn changed(
        &mut self,
        interrupt: &CancellationToken,
    ) -> Result<Option<(Changes, Instant)>> {
        loop {
            let changed = tokio::select! {
                () = interrupt.cancelled() => return Ok(None),
                changed = self.watch.changed() => changed?,
            };
            let seen = Instant::now();
            let now = SourceState::read(&self.root)?;
            // A file that was written and says what it said before is no change.
            if now != self.built {
                self.built = now;
                return Ok(Some((changed, seen)));
            }
        }
    }
}
