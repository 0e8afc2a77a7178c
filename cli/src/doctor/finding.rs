//! One thing that `dm doctor` looked at.

use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
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
pub struct Finding {
    /// What was looked at, e.g. `engine` or `disk space`.
    pub name: String,
    /// How it came out.
    pub status: Status,
    /// One sentence: what was found.
    pub detail: String,
    /// Commands or sentences: what to do about it.
    pub next: Vec<String>,
}
