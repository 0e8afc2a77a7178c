//! What came out of a job.

use std::path::PathBuf;
use std::time::Duration;

use dm_core::mask::Masker;
use dm_smoke::report::{Counts, Step};
use dm_stack::event::{Event, Failure, Node, NodeState};
use dm_stack::timings::Timings;
use serde::{Serialize, Serializer};

/// How a component, a job or an image of the start ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is ready.
    Ready,
    /// It failed.
    Failed(Box<Failure>),
    /// Something else failed before it was ready.
    NotReached,
}

/// One node of the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// From when it began to work until it ended.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Component {
    /// Replaces the secrets in what it says about its failure: a log line may hold one, and
    /// the files of a job are read by more people than its machine.
    pub(crate) fn mask(&mut self, masker: &Masker) {
        let Outcome::Failed(failure) = &mut self.outcome else {
            return;
        };
        let quoted = failure.log.iter_mut().chain(&mut failure.probe);
        for text in quoted.chain([&mut failure.what]) {
            *text = masker.text(text);
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
pub struct Stage {
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
pub struct Report {
    /// The instance that the job made for itself.
    pub instance: String,
    /// The parts of the job that were begun.
    pub stages: Vec<Stage>,
    /// The nodes of the start.
    pub components: Vec<Component>,
    /// The steps of each run of the smoke test.
    pub smoke: Vec<Vec<Step>>,
    /// Where the time of the start went.
    pub timings: Option<Timings>,
    /// The diagnostics bundle about what failed.
    pub bundle: Option<PathBuf>,
    /// True where somebody interrupted the job.
    pub interrupted: bool,
}

impl Report {
    /// True where every part did what it should.
    #[must_use]
    pub fn ok(&self) -> bool {
        !self.interrupted && self.stages.iter().all(|stage| stage.ok)
    }

    /// How the steps of all runs ended.
    #[must_use]
    pub fn steps(&self) -> Counts {
        Counts::of(self.smoke.iter().flatten())
    }

    /// How long the job took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.stages.iter().map(|stage| stage.took).sum()
    }

    /// The failures of the start.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.components.iter().filter_map(|it| match &it.outcome {
            Outcome::Failed(failure) => Some(failure.as_ref()),
            Outcome::Ready | Outcome::NotReached => None,
        })
    }
}

/// The nodes of a run, in the order in which they were announced, from its events.
#[must_use]
pub(crate) fn components(events: &[Event], timings: Option<&Timings>) -> Vec<Component> {
    let mut nodes: Vec<&Node> = Vec::new();
    for event in events {
        if let Event::Started { nodes: more, .. } = event {
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
        .map(|node| Component {
            name: node.name.clone(),
            took: span(&node.name).map_or(Duration::ZERO, |span| span.ended - span.began),
            outcome: outcome(&node.name, events),
        })
        .collect()
}

fn outcome(name: &str, events: &[Event]) -> Outcome {
    let mut outcome = Outcome::NotReached;
    for event in events {
        match event {
            Event::Node {
                name: node,
                state: NodeState::Ready { .. },
                ..
            } if node == name => outcome = Outcome::Ready,
            Event::Failed(failure) if failure.name == name => {
                outcome = Outcome::Failed(Box::new(failure.clone()));
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
        let mut component = Component {
            name: "order".into(),
            took: Duration::ZERO,
            outcome: Outcome::Failed(Box::new(failed)),
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
                    Outcome::Ready => "ready",
                    Outcome::Failed(_) => "failed",
                    Outcome::NotReached => "not reached",
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
        let mut report = Report::default();
        assert!(report.ok());
        report.interrupted = true;
        assert!(!report.ok());
    }
}
