//! The rows of `dm status`, one for each component.

use std::time::Duration;

use serde::Serialize;

use super::event::NodeKind;

/// The state of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ComponentState {
    /// Its container runs and its probe succeeds.
    Ready,
    /// Its container runs and its probe has not succeeded yet.
    Starting,
    /// Its container runs longer than the timeout and its probe fails, or it reports a warning.
    Unhealthy,
    /// The job succeeded.
    Done,
    /// Its container is paused.
    Paused,
    /// Its process exited.
    Exited {
        /// The exit code.
        exit_code: i64,
    },
    /// It has no container.
    Missing,
}

/// One component, as `dm up` and `dm status` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusRow {
    /// Its name.
    pub component: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Its state.
    #[serde(flatten)]
    pub state: ComponentState,
    /// Its addresses on the host, most important first, e.g.
    /// `postgres://127.0.0.1:5432`.
    pub addresses: Vec<String>,
    /// How long it has been in this state.
    #[serde(rename = "since_seconds", serialize_with = "as_whole_seconds")]
    pub since: Option<Duration>,
    /// The image that it runs, or its version.
    pub image: Option<String>,
    /// The memory that it uses, in bytes.
    pub memory: Option<u64>,
    /// One sentence that explains the state, e.g. the result of the last probe.
    pub detail: Option<String>,
}

/// Serializes an uptime in whole seconds, without fractions.
fn as_whole_seconds<S: serde::Serializer>(
    since: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match since {
        Some(since) => serializer.serialize_some(&since.as_secs()),
        None => serializer.serialize_none(),
    }
}
