//! Decides how a container is stopped, and which volumes of an instance are removed.

use dm_core::error::Error;
use dm_engine::EngineError;
use dm_engine::containers::ContainerState;

use crate::StackError;

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

/// The decision about the volumes of an instance without containers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct VolumeDecision {
    /// The volumes with data that are removed, in order.
    pub(super) removed: Vec<String>,
    /// The volumes with data that stay.
    pub(super) kept: Vec<String>,
}

/// Decides about these volumes of an instance. `marker` is the name of the volume that marks a
/// reset in progress: it contains no data, and is in neither list.
pub(super) fn decide_volumes(
    mut volumes: Vec<String>,
    marker: &str,
    removes_data: bool,
) -> VolumeDecision {
    volumes.retain(|volume| volume != marker);
    if removes_data {
        VolumeDecision {
            removed: volumes,
            ..VolumeDecision::default()
        }
    } else {
        VolumeDecision {
            kept: volumes,
            ..VolumeDecision::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use dm_core::error_code::ErrorCode;

    use super::*;

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
    fn volumes_with_data_are_removed_or_kept_in_their_order() {
        let volumes = || ["postgres-data", "reset-data", "rabbitmq-data"].map(str::to_owned);
        let with_data = ["postgres-data", "rabbitmq-data"].map(str::to_owned);
        assert_eq!(
            decide_volumes(volumes().into(), "reset-data", true),
            VolumeDecision {
                removed: with_data.to_vec(),
                kept: Vec::new(),
            }
        );
        assert_eq!(
            decide_volumes(volumes().into(), "reset-data", false),
            VolumeDecision {
                removed: Vec::new(),
                kept: with_data.to_vec(),
            }
        );
    }
}
