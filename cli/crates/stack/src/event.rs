//! The events of a run. The executor sends them; the crate `dm-console` renders
//! them as live lines, plain lines or JSON lines. `dm bench` parses the JSON lines.

use std::path::PathBuf;
use std::time::Duration;

use dm_core::error::CompilerError;
pub use dm_images::ProgressUnit;
use dm_images::ProgressUpdate;
use serde::{Deserialize, Serialize};

/// The kind of a graph node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A long-running container; ready when its probe succeeds.
    Service,
    /// Work that ends; ready when it has succeeded.
    Job,
    /// An image to pull or build.
    Image,
}

/// One node of the graph, as announced at the start of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique in the run, e.g. `postgres` or `database`.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// The nodes that it depends on.
    pub after: Vec<String>,
}

/// The state of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NodeState {
    /// It waits until its dependencies are ready.
    Waiting {
        /// Names of the nodes that it still waits for.
        waiting_for: Vec<String>,
    },
    /// A long operation is in progress: pulling, building, packing.
    Working {
        /// A verb, e.g. `pulling`, `building`, `migrating`.
        activity: String,
        /// The current object in one short line, e.g. a layer or a file.
        detail: Option<String>,
        /// The amount done so far.
        current: Option<u64>,
        /// The total amount, if known.
        total: Option<u64>,
        /// The unit of both amounts.
        unit: ProgressUnit,
    },
    /// The container is being created.
    Creating,
    /// The container was started and is not ready yet.
    Starting {
        /// The result of the last probe.
        probe: Option<String>,
    },
    /// Ready: its probe succeeded, or its job did.
    Ready {
        /// True if it was ready already and nothing had to be done.
        unchanged: bool,
    },
    /// It is being stopped.
    Stopping,
    /// It was stopped or removed: as requested, or because it is optional and failed.
    Removed,
    /// It failed; the report follows as [`RunEvent::Failed`].
    Failed,
    /// It was not started, because a dependency failed.
    Blocked {
        /// The node that failed.
        blocked_by: String,
    },
}

impl From<ProgressUpdate> for NodeState {
    fn from(update: ProgressUpdate) -> Self {
        Self::Working {
            activity: update.activity.to_owned(),
            detail: update.detail,
            current: update.current,
            total: update.total,
            unit: update.unit,
        }
    }
}

impl NodeState {
    /// Returns whether nothing further happens to the node in this run.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Ready { .. } | Self::Removed | Self::Failed | Self::Blocked { .. }
        )
    }
}

/// An event of a run. `elapsed` counts from the start of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The run begins with these nodes. A later `Started` of the same run adds
    /// nodes and restarts existing ones (a reset takes down and brings up).
    Started {
        /// The command, the same in all events of a run: `up`, `down`, `reset` …
        command: String,
        /// The instance that the command changes.
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
        /// The time since the start of the run.
        #[serde(rename = "elapsed_seconds", with = "seconds")]
        elapsed: Duration,
    },
    /// A node failed, with all details.
    Failed(NodeFailure),
    /// A message that belongs to no state, e.g. the image source that was used.
    Note {
        /// The node it is about, if any.
        name: Option<String>,
        /// The message.
        text: String,
        /// The time since the start of the run.
        #[serde(rename = "elapsed_seconds", with = "seconds")]
        elapsed: Duration,
    },
    /// A diagnostics bundle of the failed run was written.
    Diagnostics {
        /// The path of the bundle.
        path: PathBuf,
    },
    /// The first interrupt arrived; the run winds down.
    Interrupted,
    /// The run is over.
    Finished {
        /// True if every node reached its desired state.
        ok: bool,
        /// The duration of the run.
        #[serde(rename = "elapsed_seconds", with = "seconds")]
        elapsed: Duration,
    },
}

/// The details of a failed node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFailure {
    /// The node.
    pub name: String,
    /// The cause, as one sentence.
    pub message: String,
    /// The container's state as the engine reports it, e.g. `exited`.
    pub state: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// True if the kernel killed it because memory ran out.
    pub out_of_memory: bool,
    /// The last result of its readiness probe.
    pub probe: Option<String>,
    /// Its last log lines, oldest first.
    pub log: Vec<String>,
    /// The compiler's errors in the project's own sources, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_errors: Vec<CompilerError>,
    /// The nodes that cannot start because of it.
    pub blocked_nodes: Vec<String>,
    /// The suggested next steps: commands or sentences.
    pub next: Vec<String>,
    /// The time since the start of the run.
    #[serde(rename = "elapsed_seconds", with = "seconds")]
    pub elapsed: Duration,
}

/// Converts durations to and from seconds with millisecond precision.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
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
    fn events_round_trip_through_json() {
        let elapsed = Duration::from_millis(1234);
        let node = |state| RunEvent::Node {
            name: "postgres".into(),
            state,
            elapsed,
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
                waiting_for: vec!["database".into()],
            }),
            node(NodeState::Starting {
                probe: Some("connection refused".into()),
            }),
            node(NodeState::Ready { unchanged: true }),
            RunEvent::Interrupted,
            RunEvent::Finished { ok: true, elapsed },
        ];
        for event in events {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<RunEvent>(&text).unwrap(), event);
        }
    }

    #[test]
    fn negative_elapsed_time_is_rejected() {
        let text = r#"{"event":"finished","ok":true,"elapsed_seconds":-1}"#;
        assert!(serde_json::from_str::<RunEvent>(text).is_err());
    }
}
