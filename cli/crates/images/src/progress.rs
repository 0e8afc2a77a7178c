//! What is told while images are obtained.

use serde::{Deserialize, Serialize};

/// What the numbers of an [`Update`] count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressUnit {
    /// Bytes, transferred or written.
    Bytes,
    /// Steps of a build.
    Steps,
    /// Units of cargo: crates, build scripts, and runs of those.
    Crates,
}

/// A sign of life of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// A verb, e.g. `pulling`.
    pub activity: &'static str,
    /// What exactly, e.g. `step 3/7: RUN apt-get …`.
    pub detail: Option<String>,
    /// Done so far.
    pub current: Option<u64>,
    /// Of how much in all.
    pub total: Option<u64>,
    /// What the two count.
    pub unit: ProgressUnit,
}

impl ProgressUpdate {
    /// Something that counts nothing.
    #[must_use]
    pub const fn new(doing: &'static str) -> Self {
        Self {
            activity: doing,
            detail: None,
            current: None,
            total: None,
            unit: ProgressUnit::Steps,
        }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with bytes done, and in all where known.
    #[must_use]
    pub(crate) const fn with_bytes(mut self, current: u64, total: Option<u64>) -> Self {
        self.current = Some(current);
        self.total = total;
        self.unit = ProgressUnit::Bytes;
        self
    }

    /// The same with crates done, and in all.
    #[must_use]
    pub const fn with_crates(mut self, current: u64, total: u64) -> Self {
        self.current = Some(current);
        self.total = Some(total);
        self.unit = ProgressUnit::Crates;
        self
    }

    /// The same with steps done, and in all.
    #[must_use]
    pub const fn with_steps(mut self, current: u64, total: u64) -> Self {
        self.current = Some(current);
        self.total = Some(total);
        self.unit = ProgressUnit::Steps;
        self
    }
}

/// Receives what is told while images are obtained. Calls come from several tasks
/// and must not block.
pub trait ImageProgress: Send + Sync {
    /// An image is being worked on.
    fn on_progress(&self, image: &str, update: ProgressUpdate);

    /// An image is there: `was_here` where nothing had to be done for it.
    fn on_acquired(&self, _image: &str, _was_here: bool) {}

    /// Something worth a line, e.g. that no registry answers and so it is built.
    fn on_note(&self, image: &str, text: String);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoImageProgress;

impl ImageProgress for NoImageProgress {
    fn on_progress(&self, _: &str, _: ProgressUpdate) {}
    fn on_note(&self, _: &str, _: String) {}
}
