//! Limits on concurrent builds: one build per image, and few builds in total.

use std::sync::Arc;

use dm_engine::images::Image;
use tokio_util::sync::CancellationToken;

use super::{ImageStore, ReusePolicy};
use crate::error::ImageError;
use crate::lock::BuildLock;
use crate::progress::ProgressUpdate;
use crate::recipe::Sha256Digest;

impl ImageStore {
    /// Acquires the lock for building the image of a digest, in this process and among all
    /// processes of the machine. Returns `None` if another process has built it meanwhile.
    pub(crate) async fn acquire_build_lock(
        &self,
        name: &str,
        reference: &str,
        digest: &Sha256Digest,
        reuse: ReusePolicy,
        cancel: &CancellationToken,
    ) -> Result<Option<(tokio::sync::OwnedMutexGuard<()>, BuildLock)>, ImageError> {
        let mutex = {
            let mut builds = self.builds_in_progress.lock().await;
            Arc::clone(builds.entry(reference.to_owned()).or_default())
        };
        let guard = tokio::select! {
            () = cancel.cancelled() => return Err(ImageError::Cancelled),
            guard = mutex.lock_owned() => guard,
        };
        let lock = BuildLock::acquire(&self.dirs.state_dir, digest.short_hex(), cancel, || {
            self.progress.on_progress(
                name,
                ProgressUpdate::new("waiting").with_detail("for another dm process that builds it"),
            );
        })
        .await?;
        if reuse == ReusePolicy::Reuse && self.engine.inspect_image(reference).await?.is_some() {
            return Ok(None);
        }
        Ok(Some((guard, lock)))
    }

    pub(crate) async fn acquire_build_slot(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, ImageError> {
        if self.build_slots.available_permits() == 0 {
            self.progress.on_progress(
                name,
                ProgressUpdate::new("waiting").with_detail("for other images to be built first"),
            );
        }
        tokio::select! {
            () = cancel.cancelled() => Err(ImageError::Cancelled),
            slot = self.build_slots.acquire() => slot.map_err(|_| ImageError::Cancelled),
        }
    }

    /// Tags a complete image, as the last step of its build.
    pub(crate) async fn tag_finished(
        &self,
        id: &str,
        reference: &str,
        _lock: &BuildLock,
    ) -> Result<(), ImageError> {
        Ok(self.engine.tag_image(id, reference).await?)
    }

    /// Returns an image that was just obtained.
    pub(crate) async fn require_image(&self, reference: &str) -> Result<Image, ImageError> {
        self.engine
            .inspect_image(reference)
            .await?
            .ok_or_else(|| ImageError::Build {
                name: reference.to_owned(),
                step: None,
                reason: "the image was removed during the build".into(),
                log: Vec::new(),
                hints: vec!["run the command again".into()],
            })
    }
}
