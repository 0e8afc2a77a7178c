//! The plan: what is, what should be, and so what is to be done.

use std::collections::BTreeMap;

use dm_engine::containers::{Container, ContainerState};
use serde::Serialize;

/// What is to be done about a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanAction {
    /// It runs and is as it should be.
    Keep,
    /// Its container is as it should be and doesn't run.
    Start,
    /// Its container is frozen.
    Resume,
    /// It has no container.
    Create,
    /// Its container is not as it should be. Its data stays.
    Recreate,
    /// It is no longer part of the stack. Its data stays.
    Remove,
}

impl PlanAction {
    /// The word for it.
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

    /// Whether a container is made.
    #[must_use]
    pub(crate) const fn needs_image(self) -> bool {
        matches!(self, Self::Create | Self::Recreate)
    }
}

/// What is to be done about one component, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanStep {
    /// The component.
    pub component: String,
    /// What to do.
    pub action: PlanAction,
    /// Why, where it isn't plain.
    pub reason: Option<String>,
}

/// What a component should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredComponent {
    /// The component.
    pub component: String,
    /// The digest of its container's specification.
    pub digest: String,
}

/// Compares what should be with what is.
///
/// Components that exist and aren't wanted are removed where `prune` is set: a
/// run that was asked for a few components leaves the others alone.
#[must_use]
pub(crate) fn compute_plan(
    wanted: &[DesiredComponent],
    actual: &[Container],
    prune: bool,
) -> Vec<PlanStep> {
    let existing: BTreeMap<&str, &Container> = actual
        .iter()
        .map(|container| (container.component.as_str(), container))
        .collect();
    let mut steps: Vec<PlanStep> = wanted
        .iter()
        .map(|wanted| {
            let (action, reason) =
                plan_component(wanted, existing.get(wanted.component.as_str()).copied());
            PlanStep {
                component: wanted.component.clone(),
                action,
                reason,
            }
        })
        .collect();
    if prune {
        let gone = actual.iter().filter(|container| {
            !wanted
                .iter()
                .any(|wanted| wanted.component == container.component)
        });
        steps.extend(gone.map(|container| PlanStep {
            component: container.component.clone(),
            action: PlanAction::Remove,
            reason: Some("no longer part of the stack".into()),
        }));
    }
    steps
}

fn plan_component(
    wanted: &DesiredComponent,
    container: Option<&Container>,
) -> (PlanAction, Option<String>) {
    let Some(container) = container else {
        return (PlanAction::Create, None);
    };
    if container.digest != wanted.digest {
        return (
            PlanAction::Recreate,
            Some("its definition has changed".into()),
        );
    }
    // Whoever took it off, for a while, was killed before putting it back.
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
        // Never started: the process that made it may have been killed before it
        // put the files in.
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

    fn wanted(component: &str) -> DesiredComponent {
        DesiredComponent {
            component: component.to_owned(),
            digest: "1".to_owned(),
        }
    }

    #[test]
    fn what_is_off_the_network_is_made_anew() {
        for state in STATES {
            let mut found = container("a", "1", state);
            found.has_network = false;
            assert_eq!(
                compute_plan(&[wanted("a")], &[found], true)[0].action,
                PlanAction::Recreate
            );
        }
    }

    fn action(state: ContainerState, digest: &str) -> PlanAction {
        compute_plan(&[wanted("a")], &[container("a", digest, state)], true)[0].action
    }

    #[test]
    fn each_state_has_its_action() {
        assert_eq!(
            compute_plan(&[wanted("a")], &[], true)[0].action,
            PlanAction::Create
        );
        assert_eq!(action(ContainerState::Running, "1"), PlanAction::Keep);
        assert_eq!(action(ContainerState::Exited, "1"), PlanAction::Start);
        assert_eq!(action(ContainerState::Paused, "1"), PlanAction::Resume);
        assert_eq!(action(ContainerState::Created, "1"), PlanAction::Recreate);
        assert_eq!(action(ContainerState::Dead, "1"), PlanAction::Recreate);
    }

    #[test]
    fn a_changed_definition_always_recreates() {
        for state in STATES {
            assert_eq!(action(state, "2"), PlanAction::Recreate);
        }
    }

    #[test]
    fn what_is_not_wanted_is_removed_only_by_a_whole_run() {
        let actual = [container("old", "1", ContainerState::Running)];
        assert_eq!(
            compute_plan(&[], &actual, true)[0].action,
            PlanAction::Remove
        );
        assert!(compute_plan(&[], &actual, false).is_empty());
    }

    proptest! {
        /// Once everything runs as it should, the plan does nothing.
        #[test]
        fn a_second_plan_keeps_everything(names in proptest::collection::btree_set("[a-z]{1,8}", 0..8)) {
            let wanted: Vec<_> = names.iter().map(|name| wanted(name)).collect();
            let actual: Vec<_> =
                names.iter().map(|name| container(name, "1", ContainerState::Running)).collect();
            let steps = compute_plan(&wanted, &actual, true);
            prop_assert_eq!(steps.len(), names.len());
            prop_assert!(steps.iter().all(|step| step.action == PlanAction::Keep));
        }
    }
}
