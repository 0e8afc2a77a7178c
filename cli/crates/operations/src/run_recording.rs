//! What a run has told.

use std::path::PathBuf;

use dm_stack::event::{NodeFailure, NodeKind, NodeState, RunEvent};

/// What a run told.
#[derive(Debug, Clone, Default)]
pub struct RunRecording {
    /// Its events, for `Timings::of`. Of repeated progress within one activity
    /// only the first is kept.
    pub events: Vec<RunEvent>,
    /// The failures among them.
    pub failures: Vec<NodeFailure>,
    /// Whether it ended as was asked; none if it never told its end.
    pub ok: Option<bool>,
}

impl RunRecording {
    /// Adds the next event.
    pub fn add(&mut self, event: RunEvent) {
        match &event {
            RunEvent::Failed(failure) => self.failures.push(failure.clone()),
            RunEvent::Finished { ok, .. } => self.ok = Some(*ok),
            RunEvent::Node { name, state, .. } if self.is_repetition(name, state) => return,
            _ => {}
        }
        self.events.push(event);
    }

    /// The containers that the run started, in the order in which they were ready.
    #[must_use]
    pub(crate) fn started_services(&self) -> Vec<String> {
        let is_service = |node: &str| {
            self.events.iter().any(|event| match event {
                RunEvent::Started { nodes, .. } => nodes
                    .iter()
                    .any(|it| it.name == node && it.kind == NodeKind::Service),
                _ => false,
            })
        };
        self.events
            .iter()
            .filter_map(|event| match event {
                RunEvent::Node {
                    name,
                    state: NodeState::Ready { kept: false },
                    ..
                } if is_service(name) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    /// The diagnostics bundle that the run wrote.
    #[must_use]
    pub(crate) fn bundle_path(&self) -> Option<PathBuf> {
        self.events.iter().rev().find_map(|event| match event {
            RunEvent::Diagnostics { path } => Some(path.clone()),
            _ => None,
        })
    }

    /// True where the node's last recorded state differs in numbers only.
    fn is_repetition(&self, node: &str, state: &NodeState) -> bool {
        let last = self.events.iter().rev().find_map(|event| match event {
            RunEvent::Node { name, state, .. } if name == node => Some(state),
            _ => None,
        });
        match (last, state) {
            (Some(NodeState::Working { doing: before, .. }), NodeState::Working { doing, .. }) => {
                before == doing
            }
            (Some(NodeState::Starting { .. }), NodeState::Starting { .. }) => true,
            _ => false,
        }
    }
}
