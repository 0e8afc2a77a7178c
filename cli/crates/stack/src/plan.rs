//! The plan: what is, what should be, and so what is to be done.

use std::collections::BTreeMap;

use dm_engine::containers::{Container, State};
use serde::Serialize;

/// What is to be done about a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
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

impl Action {
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
pub struct Step {
    /// The component.
    pub component: String,
    /// What to do.
    pub action: Action,
    /// Why, where it isn't plain.
    pub reason: Option<String>,
}

/// What a component should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
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
pub(crate) fn plan(wanted: &[Wanted], actual: &[Container], prune: bool) -> Vec<Step> {
    let existing: BTreeMap<&str, &Container> = actual
        .iter()
        .map(|container| (container.component.as_str(), container))
        .collect();
    let mut steps: Vec<Step> = wanted
        .iter()
        .map(|wanted| {
            let (action, reason) = decide(wanted, existing.get(wanted.component.as_str()).copied());
            Step {
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
        steps.extend(gone.map(|container| Step {
            component: container.component.clone(),
            action: Action::Remove,
            reason: Some("no longer part of the stack".into()),
        }));
    }
    steps
}

fn decide(wanted: &Wanted, container: Option<&Container>) -> (Action, Option<String>) {
    let Some(container) = container else {
        return (Action::Create, None);
    };
    if container.digest != wanted.digest {
        return (Action::Recreate, Some("its definition has changed".into()));
    }
    // Whoever took it off, for a while, was killed before putting it back.
    if !container.on_network {
        return (
            Action::Recreate,
            Some("it is disconnected from the network".into()),
        );
    }
    match container.state {
        State::Running => (Action::Keep, None),
        State::Paused => (Action::Resume, Some("it is paused".into())),
        State::Exited => (Action::Start, Some(container.status.to_lowercase())),
        // Never started: the process that made it may have been killed before it
        // put the files in.
        State::Created => (Action::Recreate, Some("it was never started".into())),
        State::Restarting | State::Dead => (
            Action::Recreate,
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
    use crate::examples;

    const STATES: [State; 6] = [
        State::Created,
        State::Running,
        State::Paused,
        State::Restarting,
        State::Exited,
        State::Dead,
    ];

    fn container(component: &str, digest: &str, state: State) -> Container {
        Container {
            state,
            digest: digest.to_owned(),
            ..examples::container(component)
        }
    }

    fn wanted(component: &str) -> Wanted {
        Wanted {
            component: component.to_owned(),
            digest: "1".to_owned(),
        }
    }

    #[test]
    fn what_is_off_the_network_is_made_anew() {
        for state in STATES {
            let mut found = container("a", "1", state);
            found.on_network = false;
            assert_eq!(
                plan(&[wanted("a")], &[found], true)[0].action,
                Action::Recreate
            );
        }
    }

    fn action(state: State, digest: &str) -> Action {
        plan(&[wanted("a")], &[container("a", digest, state)], true)[0].action
    }

    #[test]
    fn each_state_has_its_action() {
        assert_eq!(plan(&[wanted("a")], &[], true)[0].action, Action::Create);
        assert_eq!(action(State::Running, "1"), Action::Keep);
        assert_eq!(action(State::Exited, "1"), Action::Start);
        assert_eq!(action(State::Paused, "1"), Action::Resume);
        assert_eq!(action(State::Created, "1"), Action::Recreate);
        assert_eq!(action(State::Dead, "1"), Action::Recreate);
    }

    #[test]
    fn a_changed_definition_always_recreates() {
        for state in STATES {
            assert_eq!(action(state, "2"), Action::Recreate);
        }
    }

    #[test]
    fn what_is_not_wanted_is_removed_only_by_a_whole_run() {
        let actual = [container("old", "1", State::Running)];
        assert_eq!(plan(&[], &actual, true)[0].action, Action::Remove);
        assert!(plan(&[], &actual, false).is_empty());
    }

    proptest! {
        /// Once everything runs as it should, the plan does nothing.
        #[test]
        fn a_second_plan_keeps_everything(names in proptest::collection::btree_set("[a-z]{1,8}", 0..8)) {
            let wanted: Vec<_> = names.iter().map(|name| wanted(name)).collect();
            let actual: Vec<_> =
                names.iter().map(|name| container(name, "1", State::Running)).collect();
            let steps = plan(&wanted, &actual, true);
            prop_assert_eq!(steps.len(), names.len());
            prop_assert!(steps.iter().all(|step| step.action == Action::Keep));
        }
    }
}
