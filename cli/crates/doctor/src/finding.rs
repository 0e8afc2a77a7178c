//! One thing that `dm doctor` looked at.

use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Could not be looked at, e.g. because no engine answers.
    Skipped,
    /// Works, and will get in the way of something.
    Warning,
    /// `dm up` can't work like this.
    Error,
}

/// One thing that was looked at, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorFinding {
    /// What was looked at, e.g. `engine` or `disk space`.
    pub name: String,
    /// How it came out.
    pub status: CheckStatus,
    /// One sentence: what was found.
    pub detail: String,
    /// Commands or sentences: what to do about it.
    pub next: Vec<String>,
}

impl DoctorFinding {
    /// All is as it should be.
    #[must_use]
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Ok, detail, Vec::new())
    }

    /// It could not be looked at.
    #[must_use]
    pub fn skipped(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Skipped, detail, Vec::new())
    }

    /// It will get in the way of something.
    #[must_use]
    pub(crate) fn warning<N: Into<String>>(
        name: impl Into<String>,
        detail: impl Into<String>,
        next: impl IntoIterator<Item = N>,
    ) -> Self {
        let next = next.into_iter().map(Into::into).collect();
        Self::new(name, CheckStatus::Warning, detail, next)
    }

    /// `dm up` can't work like this.
    #[must_use]
    pub fn error<N: Into<String>>(
        name: impl Into<String>,
        detail: impl Into<String>,
        next: impl IntoIterator<Item = N>,
    ) -> Self {
        let next = next.into_iter().map(Into::into).collect();
        Self::new(name, CheckStatus::Error, detail, next)
    }

    fn new(
        name: impl Into<String>,
        status: CheckStatus,
        detail: impl Into<String>,
        next: Vec<String>,
    ) -> Self {
        Self {
            name: name.into(),
            status,
            detail: detail.into(),
            next,
        }
    }
}
