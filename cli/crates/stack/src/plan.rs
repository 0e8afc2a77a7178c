//! The plan: the actions that lead from the actual to the desired state.

use std::collections::BTreeMap;

use dm_engine::containers::{Container, ContainerState};
use serde::Serialize;

/// The action for a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanAction {
    /// Its container runs and has the desired definition.
    Keep,
    /// Its container has the desired definition and does not run.
    Start,
    /// Its container is paused.
    Resume,
    /// It has no container.
    Create,
    /// Its container differs from the desired definition. Its data stays.
    Recreate,
    /// It is no longer part of the stack. Its data stays.
    Remove,
}

impl PlanAction {
    /// Returns the name of the action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Start => "start",
            Self::Resume => "resume",
            Self::Create => "create",
            Self::Recreate => "recreate",
            Self::Remove => "remove",
        }
    }

    /// Returns whether the action creates a container.
    #[must_use]
    pub(crate) const fn needs_image(self) -> bool {
        matches!(self, Self::Create | Self::Recreate)
    }
}

/// The action for one component, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanStep {
    /// The component.
    pub component: String,
    /// The action.
    pub action: PlanAction,
    /// The reason, unless it is obvious.
    pub reason: Option<String>,
}

/// The desired state of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredComponent {
    /// The component.
    pub component: String,
    /// The digest of its container's specification.
    pub digest: String,
}

/// Compares the desired with the actual state.
///
/// Components that exist and are not desired are removed if `prune` is set: a
/// run for a few components does not touch the others.
#[must_use]
pub(crate) fn compute_plan(
    desired: &[DesiredComponent],
    actual: &[Container],
    prune: bool,
) -> Vec<PlanStep> {
    let existing: BTreeMap<&str, &Container> = actual
        .iter()
        .map(|container| (container.component.as_str(), container))
        .collect();
    let mut steps: Vec<PlanStep> = desired
        .iter()
        .map(|desired| {
            let container = existing.get(desired.component.as_str()).copied();
            let (action, reason) = plan_component(desired, container);
            PlanStep {
                component: desired.component.clone(),
                action,
                reason,
            }
        })
        .collect();
    if prune {
        let obsolete = actual.iter().filter(|container| {
            !desired
                .iter()
                .any(|desired| desired.component == container.component)
        });
        steps.extend(obsolete.map(|container| PlanStep {
            component: container.component.clone(),
            action: PlanAction::Remove,
            reason: Some("no longer part of the stack".into()),
        }));
    }
    steps
}

fn plan_component(
    desired: &DesiredComponent,
    container: Option<&Container>,
) -> (PlanAction, Option<String>) {
    let Some(container) = container else {
        return (PlanAction::Create, None);
    };
    if container.digest != desired.digest {
        return (
            PlanAction::Recreate,
            Some("its definition has changed".into()),
        );
    }
    // A process that disconnected it temporarily was killed before it reconnected it.
    if !container.has_network {
        return (
            PlanAction::Recreate,
            Some("it is disconnected from the network".into()),
        );
    }
    match container.state {
        ContainerState::Running => (PlanAction::Keep, None),
        ContainerState::Paused => (PlanAction::Resume, Some("it is paused".into())),
        ContainerState::Exited => (PlanAction::Start, Some(container.status.to_lowercase())),
        // Never started: the process that created it may have been killed before it
        // copied the files.
        ContainerState::Created => (PlanAction::Recreate, Some("it was never started".into())),
        ContainerState::Restarting | ContainerState::Dead => (
            PlanAction::Recreate,
            Some(format!(
                "the engine reports it as `{}`",
                container.state.as_str()
            )),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_fixtures;

    const STATES: [ContainerState; 6] = [
        ContainerState::Created,
        ContainerState::Running,
        ContainerState::Paused,
        ContainerState::Restarting,
        ContainerState::Exited,
        ContainerState::Dead,
    ];

    fn container(component: &str, digest: &str, state: ContainerState) -> Container {
        Container {
            state,
            digest: digest.to_owned(),
            ..test_fixtures::container(component)
        }
    }

    fn desired(component: &str) -> DesiredComponent {
        DesiredComponent {
            component: component.to_owned(),
            digest: "1".to_owned(),
        }
    }

    #[test]
    fn disconnected_container_is_recreated() {
        for state in STATES {
            let mut disconnected = container("a", "1", state);
            disconnected.has_network = false;
            assert_eq!(
                compute_plan(&[desired("a")], &[disconnected], true)[0].action,
                PlanAction::Recreate
            );
        }
    }

    fn action(state: ContainerState, digest: &str) -> PlanAction {
        compute_plan(&[desired("a")], &[container("a", digest, state)], true)[0].action
    }

    #[test]
    fn container_state_determines_the_action() {
        assert_eq!(
            compute_plan(&[desired("a")], &[], true)[0].action,
            PlanAction::Create
        );
        assert_eq!(action(ContainerState::Running, "1"), PlanAction::Keep);
        assert_eq!(action(ContainerState::Exited, "1"), PlanAction::Start);
        assert_eq!(action(ContainerState::Paused, "1"), PlanAction::Resume);
        assert_eq!(action(ContainerState::Created, "1"), PlanAction::Recreate);
        assert_eq!(action(ContainerState::Dead, "1"), PlanAction::Recreate);
    }

    #[test]
    fn changed_definition_recreates_in_every_state() {
        for state in STATES {
            assert_eq!(action(state, "2"), PlanAction::Recreate);
        }
    }

    #[test]
    fn obsolete_container_is_removed_only_with_prune() {
        let actual = [container("old", "1", ContainerState::Running)];
        assert_eq!(
            compute_plan(&[], &actual, true)[0].action,
            PlanAction::Remove
        );
        assert!(compute_plan(&[], &actual, false).is_empty());
    }

    proptest! {
        /// If every container runs as desired, the plan keeps all of them.
        #[test]
        fn second_plan_keeps_everything(names in proptest::collection::btree_set("[a-z]{1,8}", 0..8)) {
            let desired: Vec<_> = names.iter().map(|name| desired(name)).collect();
            let actual: Vec<_> =
                names.iter().map(|name| container(name, "1", ContainerState::Running)).collect();
            let steps = compute_plan(&desired, &actual, true);
            prop_assert_eq!(steps.len(), names.len());
            prop_assert!(steps.iter().all(|step| step.action == PlanAction::Keep));
        }
    }
}
