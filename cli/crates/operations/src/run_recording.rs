//! Records the events of a run.

use std::path::PathBuf;

use dm_stack::event::{NodeFailure, NodeKind, NodeState, RunEvent};

/// The recorded events of a run.
#[derive(Debug, Clone, Default)]
pub struct RunRecording {
    /// The events, for `Timings::from_events`. Only the first event of repeated progress
    /// within one activity is kept.
    pub events: Vec<RunEvent>,
    /// The failures in the events.
    pub failures: Vec<NodeFailure>,
    /// Whether the run succeeded. `None` without a [`RunEvent::Finished`].
    pub ok: Option<bool>,
}

impl RunRecording {
    /// Adds an event.
    pub fn add(&mut self, event: RunEvent) {
        match &event {
            RunEvent::Failed(failure) => self.failures.push(failure.clone()),
            RunEvent::Finished { ok, .. } => self.ok = Some(*ok),
            RunEvent::Node { name, state, .. } if self.is_repetition(name, state) => return,
            _ => {}
        }
        self.events.push(event);
    }

    /// Returns the containers that the run started, in the order in which they were ready.
    #[must_use]
    pub(crate) fn started_services(&self) -> Vec<String> {
        let is_service = |node: &str| {
            self.events.iter().any(|event| match event {
                RunEvent::Started { nodes, .. } => nodes
                    .iter()
                    .any(|known| known.name == node && known.kind == NodeKind::Service),
                _ => false,
            })
        };
        self.events
            .iter()
            .filter_map(|event| match event {
                RunEvent::Node {
                    name,
                    state: NodeState::Ready { unchanged: false },
                    ..
                } if is_service(name) => Some(name.clone()),
                _ => None,
            })
            .collect()
    }

    /// Returns the path of the diagnostics bundle that the run wrote.
    #[must_use]
    pub(crate) fn bundle_path(&self) -> Option<PathBuf> {
        self.events.iter().rev().find_map(|event| match event {
            RunEvent::Diagnostics { path } => Some(path.clone()),
            _ => None,
        })
    }

    /// Returns whether the state differs from the node's last recorded one only in numbers.
    fn is_repetition(&self, node: &str, state: &NodeState) -> bool {
        let last = self.events.iter().rev().find_map(|event| match event {
            RunEvent::Node { name, state, .. } if name == node => Some(state),
            _ => None,
        });
        match (last, state) {
            (
                Some(NodeState::Working {
                    activity: before, ..
                }),
                NodeState::Working { activity, .. },
            ) => before == activity,
            (Some(NodeState::Starting { .. }), NodeState::Starting { .. }) => true,
            _ => false,
        }
    }
}
