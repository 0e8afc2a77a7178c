//! What came out of the steps.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The schema of `dm smoke --json`.
pub const SCHEMA: &str = "dm.smoke/1";

/// What was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// In a sentence's words.
    pub what: String,
    /// The request, e.g. `POST /api/v1/orders`.
    pub request: Option<String>,
    /// The status of its answer.
    pub status: Option<u16>,
    /// The beginning of its answer.
    pub answer: Option<String>,
    /// The trace that the logs have it under.
    pub trace_id: Option<String>,
    /// What the services logged under that trace, filled in by whoever can ask.
    pub log: Vec<String>,
}

impl Fault {
    /// A fault that is no answer's.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            request: None,
            status: None,
            answer: None,
            trace_id: None,
            log: Vec::new(),
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed(Fault),
    /// It was not tried: one before it failed.
    Skipped,
}

/// A step that was run, or skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The service that it is about.
    pub service: &'static str,
    /// What it does.
    pub name: &'static str,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

fn seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

/// How many of the steps ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Not tried.
    pub skipped: usize,
}

impl Counts {
    /// Counts the steps.
    #[must_use]
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut counts = Self::default();
        for step in steps {
            match step.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Skipped => counts.skipped += 1,
            }
        }
        counts
    }

    /// True where everything was tried and as expected.
    #[must_use]
    pub const fn ok(&self) -> bool {
        self.failed == 0 && self.skipped == 0
    }
}

/// Everything that is known of a fault, line by line.
#[must_use]
pub fn describe(fault: &Fault) -> String {
    let mut lines = vec![fault.what.clone()];
    if let Some(request) = &fault.request {
        let status = fault
            .status
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        lines.push(format!("{request}: {status}"));
    }
    lines.extend(fault.answer.clone());
    if let Some(trace) = &fault.trace_id {
        lines.push(format!("trace {trace}"));
    }
    lines.extend(fault.log.iter().cloned());
    lines.join("\n")
}
