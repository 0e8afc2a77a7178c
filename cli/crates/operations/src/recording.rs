//! What a run has told.

use std::path::PathBuf;

use dm_stack::event::{Event, Failure, NodeKind, NodeState};

/// What a run told.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Its events, for `Timings::of`. Of repeated progress within one activity
    /// only the first is kept.
    pub events: Vec<Event>,
    /// The failures among them.
    pub failures: Vec<Failure>,
    /// Whether it ended as was asked; none if it never told its end.
    pub ok: Option<bool>,
}

impl Recording {
    /// Adds the next event.
    pub fn add(&mut self, event: Event) {
        match &event {
            Event::Failed(failure) => self.failures.push(failure.clone()),
            Event::Finished { ok, .. } => self.ok = Some(*ok),
            Event::Node { name, state, .. } if self.repeats(name, state) => return,
            _ => {}
        }
        self.events.push(event);
    }

    /// The containers that the run started, in the order in which they were ready.
    #[must_use]
    pub(crate) fn brought_up(&self) -> Vec<String> {
        let is_service = |node: &str| {
            self.events.iter().any(|event| match event {
                Event::Started { nodes, .. } => nodes
                    .iter()
                    .any(|it| it.name == node && it.kind == NodeKind::Service),
                _ => false,
            })
        };
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Node {
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
    pub(crate) fn bundle(&self) -> Option<PathBuf> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Diagnostics { path } => Some(path.clone()),
            _ => None,
        })
    }

    /// True where the node's last recorded state differs in numbers only.
    fn repeats(&self, node: &str, state: &NodeState) -> bool {
        let last = self.events.iter().rev().find_map(|event| match event {
            Event::Node { name, state, .. } if name == node => Some(state),
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
