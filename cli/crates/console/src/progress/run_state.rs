//! The state of a run, which all reporters share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use dm_stack::event::{Node, NodeFailure, NodeKind, NodeState, RunEvent};
use dm_terminal::text;

/// A node with its state.
#[derive(Debug, Clone)]
pub(crate) struct NodeRow {
    /// The node as it was announced.
    pub node: Node,
    /// Its last state; `None` before the first one.
    pub state: Option<NodeState>,
    /// When it stopped waiting.
    pub started_at: Option<Duration>,
    /// When it reached its last state, if that is final.
    pub finished_at: Option<Duration>,
}

/// The phase of a row, for displays without room for all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodePhase {
    /// Not started.
    Waiting,
    /// In progress.
    Active,
    /// Ready, or removed: as requested, or because it is optional and failed.
    Done,
    /// Failed.
    Failed,
    /// Will not start.
    Blocked,
}

impl NodeRow {
    fn new(node: Node) -> Self {
        Self {
            node,
            state: None,
            started_at: None,
            finished_at: None,
        }
    }

    /// Returns its phase.
    pub(crate) fn phase(&self) -> NodePhase {
        match &self.state {
            None | Some(NodeState::Waiting { .. }) => NodePhase::Waiting,
            Some(NodeState::Ready { .. } | NodeState::Removed) => NodePhase::Done,
            Some(NodeState::Failed) => NodePhase::Failed,
            Some(NodeState::Blocked { .. }) => NodePhase::Blocked,
            Some(_) => NodePhase::Active,
        }
    }

    /// Returns whether nothing had to be done.
    pub(crate) fn is_unchanged(&self) -> bool {
        matches!(self.state, Some(NodeState::Ready { unchanged: true }))
    }

    /// Returns how long it has been working, or worked until it was finished.
    pub(crate) fn elapsed(&self, now: Duration) -> Option<Duration> {
        let started_at = self.started_at?;
        Some(self.finished_at.unwrap_or(now).saturating_sub(started_at))
    }
}

/// The state of a run.
#[derive(Debug, Default)]
pub(crate) struct RunState {
    /// The command.
    pub command: String,
    /// The instance that the command changes.
    pub instance: String,
    /// The nodes, as announced.
    pub rows: Vec<NodeRow>,
    /// The failures.
    pub failures: Vec<NodeFailure>,
    /// The path of the diagnostics bundle.
    pub bundle_path: Option<PathBuf>,
    /// True after the first interrupt.
    pub interrupted: bool,
    /// Whether it succeeded, and its duration; `None` while it is in progress.
    pub finished: Option<(bool, Duration)>,
    row_index: HashMap<String, usize>,
}

impl RunState {
    /// Applies an event.
    pub(crate) fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started {
                command,
                instance,
                nodes,
            } => {
                self.command.clone_from(command);
                self.instance.clone_from(instance);
                for node in nodes {
                    // A node that is announced again starts over.
                    let index = self.index_or_insert(&node.name);
                    self.rows[index] = NodeRow::new(node.clone());
                }
            }
            RunEvent::Node {
                name,
                state,
                elapsed,
            } => {
                let index = self.index_or_insert(name);
                let row = &mut self.rows[index];
                let is_waiting =
                    matches!(state, NodeState::Waiting { .. } | NodeState::Blocked { .. });
                if !is_waiting && row.started_at.is_none() {
                    row.started_at = Some(*elapsed);
                }
                row.finished_at = state.is_final().then_some(*elapsed);
                row.state = Some(state.clone());
            }
            RunEvent::Failed(failure) => self.failures.push(failure.clone()),
            RunEvent::Diagnostics { path } => self.bundle_path = Some(path.clone()),
            RunEvent::Interrupted => self.interrupted = true,
            RunEvent::Finished { ok, elapsed } => self.finished = Some((*ok, *elapsed)),
            RunEvent::Note { .. } => {}
        }
    }

    /// Returns the row of a node.
    pub(crate) fn find_row(&self, name: &str) -> Option<&NodeRow> {
        self.row_index.get(name).map(|index| &self.rows[*index])
    }

    /// Returns the dependencies of a row that are not done yet.
    pub(crate) fn unready_dependencies(&self, row: &NodeRow) -> Vec<String> {
        let is_unready = |name: &&String| {
            self.find_row(name)
                .is_some_and(|row| row.phase() != NodePhase::Done)
        };
        row.node.after.iter().filter(is_unready).cloned().collect()
    }

    /// Returns the rows of a phase.
    pub(crate) fn rows_in(&self, phase: NodePhase) -> impl Iterator<Item = &NodeRow> {
        self.rows.iter().filter(move |row| row.phase() == phase)
    }

    /// Returns whether nothing had to be done for any node.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.rows.iter().all(NodeRow::is_unchanged)
    }

    /// Formats the number of nodes in each status: `2 images, 9 ready, 1 failed`.
    pub(crate) fn status_counts(&self) -> String {
        let is_removed = |row: &&NodeRow| row.state == Some(NodeState::Removed);
        let is_image = |row: &&NodeRow| row.node.kind == NodeKind::Image;
        let done = || self.rows_in(NodePhase::Done).filter(|row| !is_removed(row));
        let images = done().filter(is_image).count();
        let groups = [
            (done().count() - images, "ready"),
            (
                self.rows_in(NodePhase::Done).filter(is_removed).count(),
                "removed",
            ),
            (self.rows_in(NodePhase::Active).count(), "unfinished"),
            (self.rows_in(NodePhase::Waiting).count(), "not started"),
            (self.rows_in(NodePhase::Failed).count(), "failed"),
            (self.rows_in(NodePhase::Blocked).count(), "blocked"),
        ];
        let images = (images > 0).then(|| text::pluralize(images, "image"));
        let others = groups
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, status)| format!("{count} {status}"));
        let parts: Vec<String> = images.into_iter().chain(others).collect();
        parts.join(", ")
    }

    /// Returns the outcome of the run as one sentence; `None` if it had no nodes.
    pub(super) fn outcome_sentence(&self, ok: bool, elapsed: Duration) -> Option<String> {
        let duration = text::format_duration(elapsed);
        let verdict = match (ok, self.interrupted) {
            (true, _) if self.rows.is_empty() => return None,
            (true, _) if self.is_unchanged() => {
                return Some(format!("everything is already ready ({duration})"));
            }
            (true, _) => "finished",
            (false, true) => "interrupted",
            (false, false) => "failed",
        };
        let counts = self.status_counts();
        let separator = if counts.is_empty() { "" } else { ": " };
        let command = if self.command.is_empty() {
            "the run"
        } else {
            &self.command
        };
        Some(format!(
            "{command} {verdict} after {duration}{separator}{counts}"
        ))
    }

    /// Returns the index of a row. A node that was never announced gets a row, too.
    fn index_or_insert(&mut self, name: &str) -> usize {
        if let Some(index) = self.row_index.get(name) {
            return *index;
        }
        self.rows.push(NodeRow::new(Node {
            name: name.to_owned(),
            kind: NodeKind::Service,
            after: Vec::new(),
        }));
        let index = self.rows.len() - 1;
        self.row_index.insert(name.to_owned(), index);
        index
    }
}
