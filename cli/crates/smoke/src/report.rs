//! The results of the steps.

use std::time::Duration;

use dm_gateway_client::RequestFailure;
use serde::{Serialize, Serializer};

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum StepOutcome {
    /// The step behaved as expected.
    Passed,
    /// The step failed.
    Failed(RequestFailure),
    /// The step did not run, because an earlier step failed or the run was cancelled.
    Skipped,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepResult {
    /// The service that the step tests.
    pub service: &'static str,
    /// The name of the step.
    pub name: &'static str,
    /// The duration.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Duration,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: StepOutcome,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The number of steps by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StepCounts {
    /// Steps that passed.
    pub passed: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that were skipped.
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

    /// Returns whether every step ran and passed.
    #[must_use]
    pub const fn all_passed(&self) -> bool {
        self.failed == 0 && self.skipped == 0
    }

    /// Returns the summary of `runs` runs as a sentence.
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
    fn summary_contains_all_counts() {
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
