//! What happens during a run, as values. The executor sends them; `output`
//! turns them into live lines, plain lines or JSON lines, which `dm bench` reads
//! back.

use std::path::PathBuf;
use std::time::Duration;

use dm_core::error::CompilerError;
pub use dm_images::ProgressUnit;
use dm_images::ProgressUpdate;
use serde::{Deserialize, Serialize};

/// What kind of node of the graph something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A container that stays up; ready when its probe answers.
    Service,
    /// Work that ends: its success is its end.
    Job,
    /// An image to pull or build.
    Image,
}

/// One node of the graph, as announced at the start of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique in the run, e.g. `postgres` or `database`.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// The nodes it waits for.
    pub after: Vec<String>,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NodeState {
    /// It can't begin before these are ready.
    Waiting {
        /// Names of the nodes that it still waits for.
        on: Vec<String>,
    },
    /// Something long is under way: pulling, building, packing.
    Working {
        /// A verb, e.g. `pulling`, `building`, `migrating`.
        doing: String,
        /// What exactly, in one short line, e.g. a layer or a file.
        detail: Option<String>,
        /// Done so far.
        current: Option<u64>,
        /// Of how much in all.
        total: Option<u64>,
        /// What the two count.
        unit: ProgressUnit,
    },
    /// The container is being made.
    Creating,
    /// The container was started and is not ready yet.
    Starting {
        /// What the last probe answered.
        probe: Option<String>,
    },
    /// Ready: its probe answered, or its job succeeded.
    Ready {
        /// True where it was already so and nothing had to be done.
        kept: bool,
    },
    /// It is being stopped.
    Stopping,
    /// It is stopped or removed, as was asked.
    Gone,
    /// It failed; the report follows as [`Event::Failed`].
    Failed,
    /// It was never begun, because something before it failed.
    Blocked {
        /// The node that failed.
        by: String,
    },
}

impl From<ProgressUpdate> for NodeState {
    fn from(update: ProgressUpdate) -> Self {
        Self::Working {
            doing: update.activity.to_owned(),
            detail: update.detail,
            current: update.current,
            total: update.total,
            unit: update.unit,
        }
    }
}

impl NodeState {
    /// True where nothing further happens to the node in this run.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Ready { .. } | Self::Gone | Self::Failed | Self::Blocked { .. }
        )
    }
}

/// Something that happened in a run. `at` counts from the start of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The run begins with these nodes. A later `Started` of the same run adds
    /// nodes; one that was there before begins anew (a reset takes down and
    /// brings up).
    Started {
        /// What was asked for, the same in all of a run: `up`, `down`, `reset` …
        command: String,
        /// The instance it is done to.
        instance: String,
        /// The nodes.
        nodes: Vec<Node>,
    },
    /// A node changed its state.
    Node {
        /// Its name.
        name: String,
        /// Its new state.
        #[serde(flatten)]
        state: NodeState,
        /// When, since the start of the run.
        #[serde(with = "seconds")]
        at: Duration,
    },
    /// A node failed: all that is known of it.
    Failed(NodeFailure),
    /// Something worth a line that belongs to no state, e.g. which image source
    /// was used.
    Note {
        /// The node it is about, if any.
        name: Option<String>,
        /// The sentence.
        text: String,
        /// When, since the start of the run.
        #[serde(with = "seconds")]
        at: Duration,
    },
    /// A bundle with everything about the failed run was written.
    Diagnostics {
        /// Where it lies.
        path: PathBuf,
    },
    /// The first interrupt arrived; the run winds down.
    Interrupted,
    /// The run is over.
    Finished {
        /// True where everything is as was asked.
        ok: bool,
        /// How long it took.
        #[serde(with = "seconds")]
        at: Duration,
    },
}

/// Everything that is known of a component that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFailure {
    /// The node.
    pub name: String,
    /// One sentence: what happened.
    pub what: String,
    /// The container's state as the engine tells it, e.g. `exited`.
    pub state: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// True where the kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// The last thing its readiness probe answered.
    pub probe: Option<String>,
    /// Its last log lines, oldest first.
    pub log: Vec<String>,
    /// What a compiler found in the project's own sources, first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_errors: Vec<CompilerError>,
    /// The nodes that can't begin because of it.
    pub blocks: Vec<String>,
    /// Commands or sentences: what to do next.
    pub next: Vec<String>,
    /// When, since the start of the run.
    #[serde(with = "seconds")]
    pub at: Duration,
}

/// Seconds with milliseconds: what people and JSON readers expect.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        at: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((at.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_their_json() {
        let at = Duration::from_millis(1234);
        let node = |state| RunEvent::Node {
            name: "postgres".into(),
            state,
            at,
        };
        let events = [
            RunEvent::Started {
                command: "up".into(),
                instance: "default".into(),
                nodes: vec![Node {
                    name: "keycloak".into(),
                    kind: NodeKind::Service,
                    after: vec!["database".into()],
                }],
            },
            node(NodeState::Waiting {
                on: vec!["database".into()],
            }),
            node(NodeState::Starting {
                probe: Some("connection refused".into()),
            }),
            node(NodeState::Ready { kept: true }),
            RunEvent::Interrupted,
            RunEvent::Finished { ok: true, at },
        ];
        for event in events {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<RunEvent>(&text).unwrap(), event);
        }
    }

    #[test]
    fn a_moment_before_the_start_is_refused() {
        let text = r#"{"event":"finished","ok":true,"at":-1}"#;
        assert!(serde_json::from_str::<RunEvent>(text).is_err());
    }
}
