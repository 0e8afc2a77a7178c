//! Progress events of obtaining images.

use serde::{Deserialize, Serialize};

/// The unit of the numbers of a [`ProgressUpdate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressUnit {
    /// Bytes, transferred or written.
    Bytes,
    /// Steps of a build.
    Steps,
    /// Units of cargo: crates, build scripts, and runs of build scripts.
    Crates,
}

/// The current progress of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// A verb, e.g. `pulling`.
    pub activity: &'static str,
    /// The details, e.g. `step 3/7: RUN apt-get …`.
    pub detail: Option<String>,
    /// The completed amount.
    pub current: Option<u64>,
    /// The total amount.
    pub total: Option<u64>,
    /// The unit of both amounts.
    pub unit: ProgressUnit,
}

impl ProgressUpdate {
    /// Creates an update without amounts.
    #[must_use]
    pub const fn new(activity: &'static str) -> Self {
        Self {
            activity,
            detail: None,
            current: None,
            total: None,
            unit: ProgressUnit::Steps,
        }
    }

    /// Sets the detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Sets the completed bytes, and the total if it is known.
    #[must_use]
    pub(crate) const fn with_bytes(mut self, current: u64, total: Option<u64>) -> Self {
        self.current = Some(current);
        self.total = total;
        self.unit = ProgressUnit::Bytes;
        self
    }

    /// Sets the completed and total crates.
    #[must_use]
    pub const fn with_crates(mut self, current: u64, total: u64) -> Self {
        self.current = Some(current);
        self.total = Some(total);
        self.unit = ProgressUnit::Crates;
        self
    }

    /// Sets the completed and total steps.
    #[must_use]
    pub(crate) const fn with_steps(mut self, current: u64, total: u64) -> Self {
        self.current = Some(current);
        self.total = Some(total);
        self.unit = ProgressUnit::Steps;
        self
    }
}

/// Receives progress events of images. Several tasks call it, and it must not block.
pub trait ImageProgress: Send + Sync {
    /// Reports the progress of an image.
    fn on_progress(&self, image: &str, update: ProgressUpdate);

    /// Reports that an image is available. `_was_local` is true if nothing had to be done.
    fn on_acquired(&self, _image: &str, _was_local: bool) {}

    /// Reports a message, e.g. that no registry answers and the image is built instead.
    fn on_note(&self, image: &str, text: String);
}

/// Discards all progress events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoImageProgress;

impl ImageProgress for NoImageProgress {
    fn on_progress(&self, _: &str, _: ProgressUpdate) {}
    fn on_note(&self, _: &str, _: String) {}
}
