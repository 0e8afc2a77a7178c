//! Decides what of an instance is removed, in which order, and what stays.

use std::collections::BTreeSet;

use dm_core::error::Error;
use dm_engine::EngineError;
use dm_engine::containers::ContainerState;

use crate::StackError;
use crate::graph::DependencyGraph;

/// Returns which of the `present` components are taken down before this one: all that depend on
/// it, also through a job or through a component without a container.
pub(super) fn find_predecessors(
    graph: &DependencyGraph,
    component: &str,
    present: &BTreeSet<String>,
) -> Vec<String> {
    graph
        .dependents(component)
        .into_iter()
        .filter(|dependent| present.contains(dependent))
        .collect()
}

/// What is left of a container that was taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remainder {
    /// The paused container.
    Paused,
    /// The stopped container.
    Stopped,
    /// No container.
    Nothing,
}

/// Returns what is left of a container after the reset of its data, if `intended` is left of it
/// after a success. A container with partly reset data is unusable.
pub(super) fn decide_remainder(intended: Remainder, is_reset: bool) -> Remainder {
    if is_reset {
        intended
    } else {
        Remainder::Nothing
    }
}

/// A step that stops or removes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopStep {
    /// Resume its processes.
    Unpause,
    /// Stop its process.
    Stop,
    /// Remove it.
    Remove,
}

/// Returns the steps that stop a container in this state, in order, and remove it unless it is
/// kept.
pub(super) fn stop_steps(state: ContainerState, is_kept: bool) -> Vec<StopStep> {
    let mut steps = Vec::new();
    if state == ContainerState::Paused {
        // A paused process cannot handle its stop signal.
        steps.push(StopStep::Unpause);
    }
    steps.push(StopStep::Stop);
    if !is_kept {
        steps.push(StopStep::Remove);
    }
    steps
}

/// Returns the error for a network that could not be removed. `users` are the containers that
/// still use it.
pub(super) fn network_error(network: &str, users: Vec<String>, error: EngineError) -> Error {
    if users.is_empty() {
        return error.into();
    }
    StackError::NetworkInUse {
        network: network.to_owned(),
        users,
    }
    .into()
}

/// A step that removes data of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DataRemoval {
    /// Remove this volume.
    Volume(String),
    /// Remove the volume with this name, which marks a reset in progress.
    ResetMarker(String),
    /// Remove the secret of the gateway.
    GatewaySecret,
}

/// The decision about the data of an instance without containers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DataDecision {
    /// The steps that remove data, in order.
    pub(super) removals: Vec<DataRemoval>,
    /// The volumes with data that stay.
    pub(super) kept_volumes: Vec<String>,
}

/// Decides about the data of an instance with these volumes. `marker` is the name of the volume
/// that marks a reset in progress; it contains no data.
pub(super) fn decide_data(
    mut volumes: Vec<String>,
    marker: String,
    removes_data: bool,
) -> DataDecision {
    volumes.retain(|volume| *volume != marker);
    if !removes_data {
        return DataDecision {
            kept_volumes: volumes,
            ..DataDecision::default()
        };
    }
    let mut removals: Vec<DataRemoval> = volumes.into_iter().map(DataRemoval::Volume).collect();
    // The marker states that other volumes may be removed already.
    removals.push(DataRemoval::ResetMarker(marker));
    removals.push(DataRemoval::GatewaySecret);
    DataDecision {
        removals,
        ..DataDecision::default()
    }
}

#[cfg(test)]
mod tests {
    use dm_core::error_code::ErrorCode;

    use super::*;

    fn graph() -> DependencyGraph {
        DependencyGraph::new([
            ("postgres", vec![]),
            ("rabbitmq", vec![]),
            ("database", vec!["postgres"]),
            ("keycloak", vec!["database"]),
            ("order", vec!["database", "rabbitmq"]),
            ("gateway", vec!["keycloak", "order"]),
        ])
        .unwrap()
    }

    fn predecessors(component: &str, present: &[&str]) -> Vec<String> {
        let present = present.iter().map(|&name| name.to_owned()).collect();
        find_predecessors(&graph(), component, &present)
    }

    #[test]
    fn component_is_taken_down_after_its_direct_and_indirect_dependents() {
        // The database is a job: it has no container.
        let present = ["gateway", "keycloak", "order", "postgres", "rabbitmq"];
        assert_eq!(
            predecessors("postgres", &present),
            ["gateway", "keycloak", "order"]
        );
        assert_eq!(predecessors("rabbitmq", &present), ["gateway", "order"]);
        assert_eq!(predecessors("keycloak", &present), ["gateway"]);
        assert!(predecessors("gateway", &present).is_empty());
    }

    #[test]
    fn component_is_taken_down_without_waiting_for_absent_dependents() {
        assert_eq!(
            predecessors("postgres", &["gateway", "postgres"]),
            ["gateway"]
        );
        assert!(predecessors("postgres", &["postgres", "rabbitmq"]).is_empty());
    }

    #[test]
    fn component_outside_the_stack_is_taken_down_at_once() {
        assert!(predecessors("old", &["gateway", "old", "postgres"]).is_empty());
        assert!(predecessors("gateway", &["gateway", "old"]).is_empty());
    }

    #[test]
    fn failed_reset_leaves_no_container() {
        for intended in [Remainder::Paused, Remainder::Stopped, Remainder::Nothing] {
            assert_eq!(decide_remainder(intended, true), intended);
            assert_eq!(decide_remainder(intended, false), Remainder::Nothing);
        }
    }

    #[test]
    fn only_a_paused_container_is_unpaused_before_its_stop() {
        for state in [
            ContainerState::Created,
            ContainerState::Running,
            ContainerState::Restarting,
            ContainerState::Exited,
            ContainerState::Dead,
        ] {
            assert_eq!(
                stop_steps(state, false),
                [StopStep::Stop, StopStep::Remove],
                "{state:?}"
            );
            assert_eq!(stop_steps(state, true), [StopStep::Stop], "{state:?}");
        }
        assert_eq!(
            stop_steps(ContainerState::Paused, false),
            [StopStep::Unpause, StopStep::Stop, StopStep::Remove]
        );
        assert_eq!(
            stop_steps(ContainerState::Paused, true),
            [StopStep::Unpause, StopStep::Stop]
        );
    }

    #[test]
    fn network_error_names_the_containers_that_use_the_network() {
        let engine_error = || EngineError::Setup {
            action: "remove network dm".into(),
            reason: "it failed".into(),
            suggestions: Vec::new(),
        };
        let error = network_error("dm", vec!["one".into(), "two".into()], engine_error());
        assert_eq!(error.user_error().code(), ErrorCode::NetworkInUse);
        assert_eq!(
            error.user_error().to_string(),
            "could not remove network dm: it is used by one and two"
        );
        let error = network_error("dm", Vec::new(), engine_error());
        assert_eq!(error.user_error().code(), ErrorCode::EngineSetup);
    }

    #[test]
    fn down_keeps_every_volume_unless_data_is_removed() {
        let volumes = || ["postgres-data", "reset-data", "rabbitmq-data"].map(str::to_owned);
        assert_eq!(
            decide_data(volumes().into(), "reset-data".into(), false),
            DataDecision {
                removals: Vec::new(),
                kept_volumes: vec!["postgres-data".into(), "rabbitmq-data".into()],
            }
        );
    }

    #[test]
    fn down_removes_the_marker_of_a_reset_after_all_other_volumes() {
        let volumes = ["reset-data", "postgres-data", "rabbitmq-data"].map(str::to_owned);
        let decision = decide_data(volumes.into(), "reset-data".into(), true);
        assert_eq!(
            decision.removals,
            [
                DataRemoval::Volume("postgres-data".into()),
                DataRemoval::Volume("rabbitmq-data".into()),
                DataRemoval::ResetMarker("reset-data".into()),
                DataRemoval::GatewaySecret,
            ]
        );
        assert!(decision.kept_volumes.is_empty());
    }

    #[test]
    fn down_without_volumes_still_removes_marker_and_secret() {
        let decision = decide_data(Vec::new(), "reset-data".into(), true);
        assert_eq!(
            decision.removals,
            [
                DataRemoval::ResetMarker("reset-data".into()),
                DataRemoval::GatewaySecret,
            ]
        );
        assert_eq!(
            decide_data(Vec::new(), "reset-data".into(), false),
            DataDecision::default()
        );
    }
}
