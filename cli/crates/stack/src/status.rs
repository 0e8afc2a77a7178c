//! What is there, component by component: the rows of `dm status`.

use std::time::Duration;

use serde::Serialize;

use super::event::NodeKind;

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ComponentState {
    /// It runs and its probe answers.
    Ready,
    /// It runs and its probe has not answered yet.
    Starting,
    /// It runs, was ready, and its probe no longer answers.
    Unhealthy,
    /// A job that ended well.
    Done,
    /// Its container is frozen.
    Paused,
    /// Its process ended.
    Exited {
        /// With this code.
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
    /// What it is.
    pub kind: NodeKind,
    /// Where it is.
    #[serde(flatten)]
    pub state: ComponentState,
    /// Where it is reached from the host, most important first, e.g.
    /// `postgres://127.0.0.1:5432`.
    pub addresses: Vec<String>,
    /// How long it has been in this state.
    #[serde(rename = "since_seconds", serialize_with = "as_whole_seconds")]
    pub since: Option<Duration>,
    /// The image that it runs, or its version.
    pub image: Option<String>,
    /// The memory that it uses, in bytes.
    pub memory: Option<u64>,
    /// One sentence where the state alone says too little, e.g. what the last
    /// probe answered.
    pub detail: Option<String>,
}

/// Whole seconds: an uptime has no use for more.
fn as_whole_seconds<S: serde::Serializer>(
    since: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match since {
        Some(since) => serializer.serialize_some(&since.as_secs()),
        None => serializer.serialize_none(),
    }
}
