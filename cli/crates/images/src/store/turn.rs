//! One maker of an image at a time, and few of all images.

use std::sync::Arc;

use dm_engine::images::Image;
use tokio_util::sync::CancellationToken;

use super::{Again, Images};
use crate::error::ImageError;
use crate::lock::DigestLock;
use crate::progress::Update;
use crate::recipe::Digest;

impl Images {
    /// The right to make the image of a digest, in this process and among all
    /// others of the machine. `None` where somebody else has made it meanwhile.
    pub(crate) async fn exclusively(
        &self,
        name: &str,
        reference: &str,
        digest: &Digest,
        again: Again,
        cancel: &CancellationToken,
    ) -> Result<Option<(tokio::sync::OwnedMutexGuard<()>, DigestLock)>, ImageError> {
        let turn = {
            let mut under_way = self.under_way.lock().await;
            Arc::clone(under_way.entry(reference.to_owned()).or_default())
        };
        let turn = tokio::select! {
            () = cancel.cancelled() => return Err(ImageError::Cancelled),
            turn = turn.lock_owned() => turn,
        };
        let lock = DigestLock::acquire(&self.dirs.state, digest.short(), cancel, || {
            self.progress.working(
                name,
                Update::doing("waiting").with("for another dm process that builds it"),
            );
        })
        .await?;
        if again == Again::Keep && self.engine.image(reference).await?.is_some() {
            return Ok(None);
        }
        Ok(Some((turn, lock)))
    }

    pub(crate) async fn slot(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, ImageError> {
        if self.builds.available_permits() == 0 {
            self.progress.working(
                name,
                Update::doing("waiting").with("for other images to be built first"),
            );
        }
        tokio::select! {
            () = cancel.cancelled() => Err(ImageError::Cancelled),
            slot = self.builds.acquire() => slot.map_err(|_| ImageError::Cancelled),
        }
    }

    /// Makes an image that is complete findable: the last thing that is done to it.
    pub(crate) async fn publish(
        &self,
        id: &str,
        reference: &str,
        _lock: &DigestLock,
    ) -> Result<(), ImageError> {
        Ok(self.engine.tag_image(id, reference).await?)
    }

    /// An image that was here a moment ago.
    pub(crate) async fn present(&self, reference: &str) -> Result<Image, ImageError> {
        self.engine
            .image(reference)
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
