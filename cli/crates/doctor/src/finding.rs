//! The finding of one check of `dm doctor`.

use serde::Serialize;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// No problem.
    Ok,
    /// Could not be checked, e.g. because no engine answers.
    Skipped,
    /// Works, but will cause a problem.
    Warning,
    /// `dm up` will fail.
    Error,
}

/// The finding of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DoctorFinding {
    /// The name of the check, e.g. `engine` or `disk space`.
    pub name: String,
    /// The outcome.
    pub status: CheckStatus,
    /// The result, in one sentence.
    pub detail: String,
    /// Suggested commands or actions.
    pub next: Vec<String>,
}

impl DoctorFinding {
    /// Creates a finding without a problem.
    #[must_use]
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Ok, detail, Vec::new())
    }

    /// Creates a finding of a check that could not be made.
    #[must_use]
    pub fn skipped(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(name, CheckStatus::Skipped, detail, Vec::new())
    }

    /// Creates a finding of a problem that does not prevent `dm up`.
    #[must_use]
    pub(crate) fn warning<N: Into<String>>(
        name: impl Into<String>,
        detail: impl Into<String>,
        next: impl IntoIterator<Item = N>,
    ) -> Self {
        let next = next.into_iter().map(Into::into).collect();
        Self::new(name, CheckStatus::Warning, detail, next)
    }

    /// Creates a finding of a problem that prevents `dm up`.
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
