//! Conversion of uploaded avatars, one at a time: a hostile image of the maximum size needs about
//! 210 MiB. The decoders need per pixel:
//!
//! | Image | Bytes | For |
//! |---|---:|---|
//! | PNG | 4 | the image; or 8 for half as many pixels, with 16 bits per channel |
//! | JPEG, sequential | 3 | the image, of which a row is decoded at a time |
//! | JPEG, progressive | 11 | the coefficients of at most four components, and the image |
//! | WebP, lossy | 5 | the components, and the image |
//! | WebP, lossless | 8 | the decoded frame, its transforms, and the image |
//! | WebP, lossy with alpha | 11 | the components, the decoded alpha channel, and the image |
//! | WebP, animated | 12 | the first frame, the canvas, and the image |
//!
//! A sequential JPEG file with several scans is decoded like a progressive one. In addition, a PNG
//! file needs up to 64 MiB for its colour profile, and a WebP file up to 32 MiB for its codes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::warn;

use crate::domain::{ImageKind, InvalidImage, to_avatar};

/// The number of images that are converted at the same time.
const MAX_CONVERSIONS: usize = 1;

/// Maximum time to wait for a conversion. The gateway waits for 15 s.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// Converts avatars.
#[derive(Debug, Clone)]
pub(crate) struct AvatarConverter {
    permits: Arc<Semaphore>,
}

/// The right to convert one image.
#[derive(Debug)]
pub(crate) struct ConversionSlot {
    _permit: OwnedSemaphorePermit,
}

impl Default for AvatarConverter {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(MAX_CONVERSIONS)),
        }
    }
}

impl AvatarConverter {
    /// Waits for a slot. Returns `None` if none becomes free in time.
    pub(crate) async fn acquire(&self) -> Option<ConversionSlot> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(MAX_WAIT, permit).await.ok()?;
        permit.ok().map(|permit| ConversionSlot { _permit: permit })
    }
}

impl ConversionSlot {
    /// Converts an image to the PNG file that is served.
    ///
    /// # Errors
    /// Returns [`InvalidImage`] if the file is not a valid image of this format, is too large, or
    /// makes the decoder panic.
    pub(crate) async fn convert(
        self,
        kind: ImageKind,
        file: Bytes,
    ) -> Result<Vec<u8>, InvalidImage> {
        let converted = self.run(move || to_avatar(kind, &file));
        converted.await.unwrap_or_else(|error| {
            warn!(error.message = %error, "could not convert an avatar");
            Err(InvalidImage::Undecodable(kind))
        })
    }

    /// Runs work on a thread that may block. The slot is held until the work ends, even if the
    /// request is cancelled before.
    fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        spawn_blocking(move || {
            let result = work();
            drop(self);
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn second_conversion_waits_for_the_slot() {
        let converter = AvatarConverter::default();
        let first = converter.acquire().await.unwrap();
        assert!(converter.acquire().await.is_none());
        let refused = first.convert(ImageKind::Png, Bytes::new()).await;
        assert_eq!(refused, Err(InvalidImage::Undecodable(ImageKind::Png)));
        assert!(converter.acquire().await.is_some());
    }

    /// A client that disconnects does not free the slot while its image is converted.
    #[tokio::test]
    async fn cancelled_request_keeps_the_slot_until_its_image_is_converted() {
        let converter = AvatarConverter::default();
        let slot = converter.acquire().await.unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let conversion = slot.run(move || {
            let _ = released.recv();
        });
        let cancelled = tokio::time::timeout(Duration::from_millis(1), conversion).await;
        assert!(cancelled.is_err());
        assert_eq!(converter.permits.available_permits(), 0);
        drop(release);
        assert!(converter.acquire().await.is_some());
    }
}
