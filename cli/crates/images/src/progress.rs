//! What is told while images are obtained.

use serde::{Deserialize, Serialize};

/// What the numbers of an [`Update`] count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes, transferred or written.
    Bytes,
    /// Steps of a build.
    Steps,
    /// Units of cargo: crates, build scripts, and runs of those.
    Crates,
}

/// A sign of life of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// A verb, e.g. `pulling`.
    pub doing: &'static str,
    /// What exactly, e.g. `step 3/7: RUN apt-get …`.
    pub detail: Option<String>,
    /// Done so far.
    pub current: Option<u64>,
    /// Of how much in all.
    pub total: Option<u64>,
    /// What the two count.
    pub unit: Unit,
}

impl Update {
    /// Something that counts nothing.
    #[must_use]
    pub const fn doing(doing: &'static str) -> Self {
        Self {
            doing,
            detail: None,
            current: None,
            total: None,
            unit: Unit::Steps,
        }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with bytes done, and in all where known.
    #[must_use]
    pub(crate) const fn bytes(mut self, current: u64, total: Option<u64>) -> Self {
        self.current = Some(current);
        self.total = total;
        self.unit = Unit::Bytes;
        self
    }

    /// The same with crates done, and in all.
    #[must_use]
    pub const fn crates(mut self, current: u64, total: u64) -> Self {
        self.current = Some(current);
        self.total = Some(total);
        self.unit = Unit::Crates;
        self
    }

    /// The same with steps done, and in all.
    #[must_use]
    pub const fn steps(mut self, current: u64, total: u64) -> Self {
        self.current = Some(current);
        self.total = Some(total);
        self.unit = Unit::Steps;
        self
    }
}

/// Receives what is told while images are obtained. Calls come from several tasks
/// and must not block.
pub trait Progress: Send + Sync {
    /// An image is being worked on.
    fn working(&self, image: &str, update: Update);

    /// An image is there: `was_here` where nothing had to be done for it.
    fn obtained(&self, _image: &str, _was_here: bool) {}

    /// Something worth a line, e.g. that no registry answers and so it is built.
    fn note(&self, image: &str, text: String);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn working(&self, _: &str, _: Update) {}
    fn note(&self, _: &str, _: String) {}
}
