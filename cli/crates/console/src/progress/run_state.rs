//! What is known of a run so far, whichever way it is shown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use dm_stack::event::{Node, NodeFailure, NodeKind, NodeState, RunEvent};
use dm_terminal::text;

/// One node and where it is.
#[derive(Debug, Clone)]
pub(crate) struct NodeRow {
    /// The node as it was announced.
    pub node: Node,
    /// Its last state; none before the first.
    pub state: Option<NodeState>,
    /// When it left waiting.
    pub started_at: Option<Duration>,
    /// When its last state began, if that is final.
    pub finished_at: Option<Duration>,
}

/// The group that a row belongs to where there is not room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodePhase {
    /// Not begun.
    Waiting,
    /// Under way.
    Active,
    /// Ready, or gone as was asked.
    Done,
    /// Failed.
    Failed,
    /// Never to begin.
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

    /// Its group.
    pub(crate) fn phase(&self) -> NodePhase {
        match &self.state {
            None | Some(NodeState::Waiting { .. }) => NodePhase::Waiting,
            Some(NodeState::Ready { .. } | NodeState::Gone) => NodePhase::Done,
            Some(NodeState::Failed) => NodePhase::Failed,
            Some(NodeState::Blocked { .. }) => NodePhase::Blocked,
            Some(_) => NodePhase::Active,
        }
    }

    /// True where nothing had to be done.
    pub(crate) fn is_unchanged(&self) -> bool {
        matches!(self.state, Some(NodeState::Ready { kept: true }))
    }

    /// How long it has been at work, or was.
    pub(crate) fn elapsed(&self, now: Duration) -> Option<Duration> {
        let began = self.started_at?;
        Some(self.finished_at.unwrap_or(now).saturating_sub(began))
    }
}

/// A run so far.
#[derive(Debug, Default)]
pub(crate) struct RunState {
    /// What was asked for.
    pub command: String,
    /// The instance it is done to.
    pub instance: String,
    /// The nodes, as announced.
    pub rows: Vec<NodeRow>,
    /// The failures.
    pub failures: Vec<NodeFailure>,
    /// Where the diagnostics bundle lies.
    pub bundle_path: Option<PathBuf>,
    /// True after the first interrupt.
    pub interrupted: bool,
    /// Whether it went well, and how long it took; none while it lasts.
    pub finished: Option<(bool, Duration)>,
    row_index: HashMap<String, usize>,
}

impl RunState {
    /// Takes an event in.
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
                    // A node that is announced again begins anew.
                    let index = self.index_or_insert(&node.name);
                    self.rows[index] = NodeRow::new(node.clone());
                }
            }
            RunEvent::Node { name, state, at } => {
                let index = self.index_or_insert(name);
                let row = &mut self.rows[index];
                let waits = matches!(state, NodeState::Waiting { .. } | NodeState::Blocked { .. });
                if !waits && row.started_at.is_none() {
                    row.started_at = Some(*at);
                }
                row.finished_at = state.is_final().then_some(*at);
                row.state = Some(state.clone());
            }
            RunEvent::Failed(failure) => self.failures.push(failure.clone()),
            RunEvent::Diagnostics { path } => self.bundle_path = Some(path.clone()),
            RunEvent::Interrupted => self.interrupted = true,
            RunEvent::Finished { ok, at } => self.finished = Some((*ok, *at)),
            RunEvent::Note { .. } => {}
        }
    }

    /// The row of a node.
    pub(crate) fn find_row(&self, name: &str) -> Option<&NodeRow> {
        self.row_index.get(name).map(|index| &self.rows[*index])
    }

    /// The nodes that a row waits for and that are not done yet.
    pub(crate) fn unready_dependencies(&self, row: &NodeRow) -> Vec<String> {
        let unready = |name: &&String| {
            self.find_row(name)
                .is_some_and(|row| row.phase() != NodePhase::Done)
        };
        row.node.after.iter().filter(unready).cloned().collect()
    }

    /// The rows of a group.
    pub(crate) fn rows_in(&self, stage: NodePhase) -> impl Iterator<Item = &NodeRow> {
        self.rows.iter().filter(move |row| row.phase() == stage)
    }

    /// True where everything was as it should be before.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.rows.iter().all(NodeRow::is_unchanged)
    }

    /// `2 images, 9 ready, 1 failed`: how the nodes stand.
    pub(crate) fn status_counts(&self) -> String {
        let gone = |row: &&NodeRow| row.state == Some(NodeState::Gone);
        let image = |row: &&NodeRow| row.node.kind == NodeKind::Image;
        let done = || self.rows_in(NodePhase::Done).filter(|row| !gone(row));
        let images = done().filter(image).count();
        let groups = [
            (done().count() - images, "ready"),
            (self.rows_in(NodePhase::Done).filter(gone).count(), "gone"),
            (self.rows_in(NodePhase::Active).count(), "unfinished"),
            (self.rows_in(NodePhase::Waiting).count(), "not started"),
            (self.rows_in(NodePhase::Failed).count(), "failed"),
            (self.rows_in(NodePhase::Blocked).count(), "blocked"),
        ];
        let images = (images > 0).then(|| text::pluralize(images, "image"));
        let others = groups
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"));
        let parts: Vec<String> = images.into_iter().chain(others).collect();
        parts.join(", ")
    }

    /// How the run ended, in one sentence; none where there was nothing to run.
    pub(super) fn outcome_sentence(&self, ok: bool, at: Duration) -> Option<String> {
        let took = text::format_duration(at);
        let verdict = match (ok, self.interrupted) {
            (true, _) if self.rows.is_empty() => return None,
            (true, _) if self.is_unchanged() => {
                return Some(format!("everything is already ready ({took})"));
            }
            (true, _) => "finished",
            (false, true) => "interrupted",
            (false, false) => "failed",
        };
        let tally = self.status_counts();
        let separator = if tally.is_empty() { "" } else { ": " };
        let command = if self.command.is_empty() {
            "the run"
        } else {
            &self.command
        };
        Some(format!(
            "{command} {verdict} after {took}{separator}{tally}"
        ))
    }

    /// A node that was never announced is shown all the same.
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
