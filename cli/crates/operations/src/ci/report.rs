//! What came out of a job.

use std::path::PathBuf;
use std::time::Duration;

use dm_core::mask::Masker;
use dm_smoke::report::{StepCounts, StepResult};
use dm_stack::event::{Node, NodeFailure, NodeState, RunEvent};
use dm_stack::timings::Timings;
use serde::{Serialize, Serializer};

/// How a component, a job or an image of the start ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum NodeOutcome {
    /// It is ready.
    Ready,
    /// It failed.
    Failed(Box<NodeFailure>),
    /// Something else failed before it was ready.
    NotReached,
}

/// One node of the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// From when it began to work until it ended.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: NodeOutcome,
}

impl NodeReport {
    /// Replaces the secrets in what it says about its failure: a log line may hold one, and
    /// the files of a job are read by more people than its machine.
    pub(crate) fn mask(&mut self, masker: &Masker) {
        let NodeOutcome::Failed(failure) = &mut self.outcome else {
            return;
        };
        let quoted = failure.log.iter_mut().chain(&mut failure.probe);
        for text in quoted.chain([&mut failure.what]) {
            *text = masker.mask_text(text);
        }
    }
}

/// A part of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// From an engine to a stack that is ready.
    Up,
    /// The business flow, as real users.
    Smoke,
    /// Nothing is left.
    Down,
}

impl StageName {
    /// The name as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Smoke => "smoke",
            Self::Down => "down",
        }
    }
}

/// How a part of the job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageReport {
    /// Which part.
    pub name: StageName,
    /// True where it did what it should.
    pub ok: bool,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// Why it failed, in a sentence.
    pub error: Option<String>,
}

/// Everything that came out of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CiReport {
    /// The instance that the job made for itself.
    pub instance: String,
    /// The parts of the job that were begun.
    pub stages: Vec<StageReport>,
    /// The nodes of the start.
    pub components: Vec<NodeReport>,
    /// The steps of each run of the smoke test.
    pub smoke: Vec<Vec<StepResult>>,
    /// Where the time of the start went.
    pub timings: Option<Timings>,
    /// The diagnostics bundle about what failed.
    pub bundle: Option<PathBuf>,
    /// True where somebody interrupted the job.
    pub interrupted: bool,
}

impl CiReport {
    /// True where every part did what it should.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !self.interrupted && self.stages.iter().all(|stage| stage.ok)
    }

    /// How the steps of all runs ended.
    #[must_use]
    pub fn step_counts(&self) -> StepCounts {
        StepCounts::from_steps(self.smoke.iter().flatten())
    }

    /// How long the job took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.stages.iter().map(|stage| stage.took).sum()
    }

    /// The failures of the start.
    pub fn failures(&self) -> impl Iterator<Item = &NodeFailure> {
        self.components.iter().filter_map(|it| match &it.outcome {
            NodeOutcome::Failed(failure) => Some(failure.as_ref()),
            NodeOutcome::Ready | NodeOutcome::NotReached => None,
        })
    }
}

/// The nodes of a run, in the order in which they were announced, from its events.
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
            took: span(&node.name).map_or(Duration::ZERO, |span| span.ended - span.began),
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

pub(super) fn seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((took.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::examples::{failure, report};
    use super::*;

    #[test]
    fn what_a_failure_quotes_is_masked() {
        let mut failed = failure("order");
        failed.log = vec!["could not sign in with hunter2hunter2".into()];
        failed.probe = Some("postgres://order:hunter2hunter2@postgres/dunder".into());
        failed.what = "ended: hunter2hunter2".into();
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
    fn components_end_as_the_events_tell() {
        let ends: Vec<_> = report()
            .components
            .iter()
            .map(|it| {
                let end = match it.outcome {
                    NodeOutcome::Ready => "ready",
                    NodeOutcome::Failed(_) => "failed",
                    NodeOutcome::NotReached => "not reached",
                };
                (it.name.clone(), end, it.took.as_millis())
            })
            .collect();
        assert_eq!(
            ends,
            [
                ("postgres".to_owned(), "ready", 1500),
                ("order".to_owned(), "failed", 2500),
                ("gateway".to_owned(), "not reached", 0),
            ]
        );
    }

    #[test]
    fn an_interrupted_job_is_not_ok() {
        let mut report = CiReport::default();
        assert!(report.is_success());
        report.interrupted = true;
        assert!(!report.is_success());
    }
}
