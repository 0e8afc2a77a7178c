//! What is known of a run so far, whichever way it is shown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use dm_stack::event::{Event, Failure, Node, NodeKind, NodeState};
use dm_terminal::text;

/// One node and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The node as it was announced.
    pub node: Node,
    /// Its last state; none before the first.
    pub state: Option<NodeState>,
    /// When it left waiting.
    pub began: Option<Duration>,
    /// When its last state began, if that is final.
    pub ended: Option<Duration>,
}

/// The group that a row belongs to where there is not room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
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

impl Row {
    fn new(node: Node) -> Self {
        Self {
            node,
            state: None,
            began: None,
            ended: None,
        }
    }

    /// Its group.
    pub(crate) fn stage(&self) -> Stage {
        match &self.state {
            None | Some(NodeState::Waiting { .. }) => Stage::Waiting,
            Some(NodeState::Ready { .. } | NodeState::Gone) => Stage::Done,
            Some(NodeState::Failed) => Stage::Failed,
            Some(NodeState::Blocked { .. }) => Stage::Blocked,
            Some(_) => Stage::Active,
        }
    }

    /// True where nothing had to be done.
    pub(crate) fn kept(&self) -> bool {
        matches!(self.state, Some(NodeState::Ready { kept: true }))
    }

    /// How long it has been at work, or was.
    pub(crate) fn took(&self, now: Duration) -> Option<Duration> {
        let began = self.began?;
        Some(self.ended.unwrap_or(now).saturating_sub(began))
    }
}

/// A run so far.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// What was asked for.
    pub command: String,
    /// The instance it is done to.
    pub instance: String,
    /// The nodes, as announced.
    pub rows: Vec<Row>,
    /// The failures.
    pub failures: Vec<Failure>,
    /// Where the diagnostics bundle lies.
    pub bundle: Option<PathBuf>,
    /// True after the first interrupt.
    pub interrupted: bool,
    /// Whether it went well, and how long it took; none while it lasts.
    pub finished: Option<(bool, Duration)>,
    index: HashMap<String, usize>,
}

impl Board {
    /// Takes an event in.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Started {
                command,
                instance,
                nodes,
            } => {
                self.command.clone_from(command);
                self.instance.clone_from(instance);
                for node in nodes {
                    // A node that is announced again begins anew.
                    let index = self.index_of(&node.name);
                    self.rows[index] = Row::new(node.clone());
                }
            }
            Event::Node { name, state, at } => {
                let index = self.index_of(name);
                let row = &mut self.rows[index];
                let waits = matches!(state, NodeState::Waiting { .. } | NodeState::Blocked { .. });
                if !waits && row.began.is_none() {
                    row.began = Some(*at);
                }
                row.ended = state.is_final().then_some(*at);
                row.state = Some(state.clone());
            }
            Event::Failed(failure) => self.failures.push(failure.clone()),
            Event::Diagnostics { path } => self.bundle = Some(path.clone()),
            Event::Interrupted => self.interrupted = true,
            Event::Finished { ok, at } => self.finished = Some((*ok, *at)),
            Event::Note { .. } => {}
        }
    }

    /// The row of a node.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.index.get(name).map(|index| &self.rows[*index])
    }

    /// The nodes that a row waits for and that are not done yet.
    pub(crate) fn unready(&self, row: &Row) -> Vec<String> {
        let unready = |name: &&String| self.row(name).is_some_and(|row| row.stage() != Stage::Done);
        row.node.after.iter().filter(unready).cloned().collect()
    }

    /// The rows of a group.
    pub(crate) fn of(&self, stage: Stage) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.stage() == stage)
    }

    /// True where everything was as it should be before.
    pub(crate) fn unchanged(&self) -> bool {
        self.rows.iter().all(Row::kept)
    }

    /// `2 images, 9 ready, 1 failed`: how the nodes stand.
    pub(crate) fn tally(&self) -> String {
        let gone = |row: &&Row| row.state == Some(NodeState::Gone);
        let image = |row: &&Row| row.node.kind == NodeKind::Image;
        let done = || self.of(Stage::Done).filter(|row| !gone(row));
        let images = done().filter(image).count();
        let groups = [
            (done().count() - images, "ready"),
            (self.of(Stage::Done).filter(gone).count(), "gone"),
            (self.of(Stage::Active).count(), "unfinished"),
            (self.of(Stage::Waiting).count(), "not started"),
            (self.of(Stage::Failed).count(), "failed"),
            (self.of(Stage::Blocked).count(), "blocked"),
        ];
        let images = (images > 0).then(|| text::count(images, "image"));
        let others = groups
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"));
        let parts: Vec<String> = images.into_iter().chain(others).collect();
        parts.join(", ")
    }

    /// How the run ended, in one sentence; none where there was nothing to run.
    pub(super) fn outcome(&self, ok: bool, at: Duration) -> Option<String> {
        let took = text::duration(at);
        let verdict = match (ok, self.interrupted) {
            (true, _) if self.rows.is_empty() => return None,
            (true, _) if self.unchanged() => {
                return Some(format!("everything is already ready ({took})"));
            }
            (true, _) => "finished",
            (false, true) => "interrupted",
            (false, false) => "failed",
        };
        let tally = self.tally();
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
    fn index_of(&mut self, name: &str) -> usize {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        self.rows.push(Row::new(Node {
            name: name.to_owned(),
            kind: NodeKind::Service,
            after: Vec::new(),
        }));
        let index = self.rows.len() - 1;
        self.index.insert(name.to_owned(), index);
        index
    }
}
