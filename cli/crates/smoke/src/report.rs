//! What came out of the steps.

use std::time::Duration;

use dm_gateway_client::RequestFailure;
use serde::{Serialize, Serializer};

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum StepOutcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed(RequestFailure),
    /// It was not tried: one before it failed.
    Skipped,
}

/// A step that was run, or skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepResult {
    /// The service that it is about.
    pub service: &'static str,
    /// What it does.
    pub name: &'static str,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: StepOutcome,
}

fn seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

/// How many of the steps ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StepCounts {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Not tried.
    pub skipped: usize,
}

impl StepCounts {
    /// Counts the steps.
    #[must_use]
    pub fn from_steps<'a>(steps: impl IntoIterator<Item = &'a StepResult>) -> Self {
        let mut counts = Self::default();
        for step in steps {
            match step.outcome {
                StepOutcome::Passed => counts.passed += 1,
                StepOutcome::Failed(_) => counts.failed += 1,
                StepOutcome::Skipped => counts.skipped += 1,
            }
        }
        counts
    }

    /// True where everything was tried and as expected.
    #[must_use]
    pub const fn all_passed(&self) -> bool {
        self.failed == 0 && self.skipped == 0
    }

    /// The end of so many runs in a sentence.
    #[must_use]
    pub fn summary(self, runs: usize) -> String {
        let steps = if self.passed == 1 { "step" } else { "steps" };
        let mut sentence = format!("{} {steps} passed", self.passed);
        if self.failed > 0 {
            sentence.push_str(&format!(", {} failed", self.failed));
        }
        if self.skipped > 0 {
            sentence.push_str(&format!(", {} skipped", self.skipped));
        }
        if runs > 1 {
            sentence.push_str(&format!(" in {runs} runs"));
        }
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        let counts = StepCounts {
            passed: 5,
            failed: 1,
            skipped: 12,
        };
        assert_eq!(
            counts.summary(3),
            "5 steps passed, 1 failed, 12 skipped in 3 runs"
        );
    }
}
