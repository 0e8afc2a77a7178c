//! The report of a job.

use std::path::PathBuf;
use std::time::Duration;

use dm_core::mask::Masker;
use dm_smoke::report::{StepCounts, StepResult};
use dm_stack::event::{Node, NodeFailure, NodeState, RunEvent};
use dm_stack::timings::Timings;
use serde::{Serialize, Serializer};

/// The outcome of a component, a job or an image of the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum NodeOutcome {
    /// The node is ready.
    Ready,
    /// The node failed.
    Failed(Box<NodeFailure>),
    /// The run ended before the node was ready.
    NotReached,
}

/// One node of the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeReport {
    /// The name of the node.
    pub name: String,
    /// The time from the start of its work to its end.
    #[serde(rename = "seconds", serialize_with = "serialize_seconds")]
    pub took: Duration,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: NodeOutcome,
}

impl NodeReport {
    /// Masks secrets in the texts of the failure: a log line may contain one, and more people
    /// can read the files of a job than its machine.
    pub(crate) fn mask(&mut self, masker: &Masker) {
        let NodeOutcome::Failed(failure) = &mut self.outcome else {
            return;
        };
        let quoted = failure.log.iter_mut().chain(&mut failure.probe);
        for text in quoted.chain([&mut failure.message]) {
            *text = masker.mask_text(text);
        }
    }
}

/// A stage of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// Brings the stack up.
    Up,
    /// Runs the smoke test.
    Smoke,
    /// Removes the instance.
    Down,
}

impl StageName {
    /// Returns the name as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Smoke => "smoke",
            Self::Down => "down",
        }
    }
}

/// The outcome of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageReport {
    /// The stage.
    pub name: StageName,
    /// True if the stage succeeded.
    pub ok: bool,
    /// The duration.
    #[serde(rename = "seconds", serialize_with = "serialize_seconds")]
    pub took: Duration,
    /// The error, if the stage failed.
    pub error: Option<String>,
}

/// The report of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CiReport {
    /// The instance of the job.
    pub instance: String,
    /// The stages that were started.
    pub stages: Vec<StageReport>,
    /// The nodes of the start.
    pub components: Vec<NodeReport>,
    /// The steps of each run of the smoke test.
    pub smoke: Vec<Vec<StepResult>>,
    /// The timings of the start.
    pub timings: Option<Timings>,
    /// The diagnostics bundle of a failure.
    pub bundle: Option<PathBuf>,
    /// True if the job was interrupted.
    pub interrupted: bool,
}

impl CiReport {
    /// Returns whether all stages succeeded without an interrupt.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !self.interrupted && self.stages.iter().all(|stage| stage.ok)
    }

    /// Returns the counts of the step outcomes of all runs.
    #[must_use]
    pub fn step_counts(&self) -> StepCounts {
        StepCounts::from_steps(self.smoke.iter().flatten())
    }

    /// Returns the total duration of the stages.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.stages.iter().map(|stage| stage.took).sum()
    }

    /// Returns the failures of the start.
    pub fn failures(&self) -> impl Iterator<Item = &NodeFailure> {
        let outcomes = self.components.iter().map(|component| &component.outcome);
        outcomes.filter_map(|outcome| match outcome {
            NodeOutcome::Failed(failure) => Some(failure.as_ref()),
            NodeOutcome::Ready | NodeOutcome::NotReached => None,
        })
    }
}

/// Returns a report for each node in the events, in the order of their announcement.
#[must_use]
pub(crate) fn node_reports(events: &[RunEvent], timings: Option<&Timings>) -> Vec<NodeReport> {
    let mut nodes: Vec<&Node> = Vec::new();
    for event in events {
        if let RunEvent::Started { nodes: more, .. } = event {
            for node in more {
                if !nodes.iter().any(|known| known.name == node.name) {
                    nodes.push(node);
                }
            }
        }
    }
    let span = |name: &str| timings?.spans.iter().find(|span| span.node == name);
    nodes
        .into_iter()
        .map(|node| NodeReport {
            name: node.name.clone(),
            took: span(&node.name).map_or(Duration::ZERO, |span| span.ended - span.started),
            outcome: node_outcome(&node.name, events),
        })
        .collect()
}

fn node_outcome(name: &str, events: &[RunEvent]) -> NodeOutcome {
    let mut outcome = NodeOutcome::NotReached;
    for event in events {
        match event {
            RunEvent::Node {
                name: node,
                state: NodeState::Ready { .. },
                ..
            } if node == name => outcome = NodeOutcome::Ready,
            RunEvent::Failed(failure) if failure.name == name => {
                outcome = NodeOutcome::Failed(Box::new(failure.clone()));
            }
            _ => {}
        }
    }
    outcome
}

pub(super) fn serialize_seconds<S: Serializer>(
    took: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::examples::{failure, report};
    use super::*;

    #[test]
    fn node_report_masks_secrets_of_a_failure() {
        let mut failed = failure("order");
        failed.log = vec!["could not sign in with hunter2hunter2".into()];
        failed.probe = Some("postgres://order:hunter2hunter2@postgres/dunder".into());
        failed.message = "ended: hunter2hunter2".into();
        let mut component = NodeReport {
            name: "order".into(),
            took: Duration::ZERO,
            outcome: NodeOutcome::Failed(Box::new(failed)),
        };
        component.mask(&Masker::new(["hunter2hunter2"]));
        let text = serde_json::to_string(&component).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("could not sign in with ***"), "{text}");
    }

    #[test]
    fn node_reports_take_outcomes_and_durations_from_events() {
        let outcomes: Vec<_> = report()
            .components
            .iter()
            .map(|component| {
                let outcome = match component.outcome {
                    NodeOutcome::Ready => "ready",
                    NodeOutcome::Failed(_) => "failed",
                    NodeOutcome::NotReached => "not reached",
                };
                (component.name.clone(), outcome, component.took.as_millis())
            })
            .collect();
        assert_eq!(
            outcomes,
            [
                ("postgres".to_owned(), "ready", 1500),
                ("order".to_owned(), "failed", 2500),
                ("gateway".to_owned(), "not reached", 0),
            ]
        );
    }

    #[test]
    fn report_of_an_interrupted_job_is_not_a_success() {
        let mut report = CiReport::default();
        assert!(report.is_success());
        report.interrupted = true;
        assert!(!report.is_success());
    }
}
