//! Removes an instance's data. Containers that can be reset without a restart stay.
//!
//! The start of the Java and Erlang runtimes takes most of the time of a fresh start.
//! Keycloak's data is in the database, and the golden database has the data of its first
//! start: its container can stay once its caches are cleared. RabbitMQ's definitions are
//! imported again. Both containers are then paused until the others are ready, so that
//! no client can use them in the meantime.
//!
//! A marker in the engine records a reset in progress. If the reset is killed at any
//! moment, the next run finds the marker and removes all data of the instance, as requested.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dm_components::{Component, ResetFuture, ResetStrategy};
use dm_core::error::Result;
use dm_engine::containers::Container;
use dm_engine::exec::ExecSpec;
use dm_engine::spec::ContainerSpec;
use tokio_util::sync::CancellationToken;

use super::Stack;
use super::down::{self, TeardownAction};
use super::executor::{EventEmitter, RunOutcome};
use super::golden::{self, GoldenImage};
use super::plan::{DesiredComponent, PlanAction, compute_plan};

/// Stops the instance and removes its data. Containers whose data was reset, or which have
/// no data of their own, are kept for the next start.
///
/// # Errors
/// If an engine request fails. A container that cannot be stopped is in the outcome.
pub async fn clear_instance(
    stack: &Arc<Stack>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let marker = stack.instance.reset_marker_volume();
    let golden_images = golden::find_golden_images(stack).await?;
    // A container that stays needs the data of its first start, which is that of the golden
    // images. After an interrupted reset, it is unknown which data is fresh.
    if golden_images.is_empty() || is_reset_unfinished(stack).await? {
        return Ok(down::down(stack, true, emitter, interrupt).await?.outcome);
    }
    let specs = container_specs(stack)?;
    let labels = stack.instance.labels();
    stack.engine.ensure_volume(&marker, &labels).await?;
    let mut actions = Vec::new();
    for container in stack.list_containers().await? {
        let golden = golden_images.get(&container.component);
        let spec = specs.get(&container.component);
        let action = teardown_action(stack, &container, spec, golden);
        actions.push((container, action));
    }
    let outcome = down::tear_down(stack, actions, emitter, interrupt).await?;
    if !outcome.is_success() {
        return Ok(outcome);
    }
    // Containers that could not be reset are removed by now; their data follows.
    let remaining = stack.list_containers().await?;
    let volumes = stack
        .engine
        .list_volumes(&stack.instance.label_filter())
        .await?;
    for volume in obsolete_volumes(&volumes, &marker, &remaining, &specs) {
        down::remove_volume(stack, volume).await?;
    }
    stack.engine.remove_volume(&marker).await?;
    Ok(outcome)
}

/// Returns the desired specification of each component's container.
fn container_specs(stack: &Stack) -> Result<BTreeMap<String, ContainerSpec>> {
    let layout = stack.instance_layout();
    let specify = |component: &Arc<dyn Component>| {
        let spec = stack.container_spec(component.as_ref(), &layout)?;
        Ok((component.name().to_owned(), spec))
    };
    stack.components.iter().map(specify).collect()
}

/// Finishes an interrupted reset, if the marker exists.
///
/// # Errors
/// Like [`clear_instance`].
pub async fn finish_interrupted_reset(
    stack: &Arc<Stack>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<Option<RunOutcome>> {
    if !is_reset_unfinished(stack).await? {
        return Ok(None);
    }
    emitter.emit_note(None, "a reset was interrupted: removing the remaining data");
    let report = down::down(stack, true, emitter, interrupt).await?;
    Ok(Some(report.outcome))
}

/// Returns whether a reset was interrupted, so that the next run removes all data.
///
/// # Errors
/// If an engine request fails.
pub async fn is_reset_unfinished(stack: &Stack) -> Result<bool> {
    let volumes = stack
        .engine
        .list_volumes(&stack.instance.label_filter())
        .await?;
    Ok(volumes.contains(&stack.instance.reset_marker_volume()))
}

/// The action of a reset for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResetAction {
    /// Remove it.
    Remove,
    /// Stop it: it has no data.
    Stop,
    /// Stop it; its next start resets its data.
    ResetOnStart,
    /// Reset its data while it runs, then pause it.
    ResetAndPause,
}

/// Chooses the action for a container. `spec` is its desired specification, if it belongs to
/// the stack.
fn choose_reset_action(
    container: &Container,
    spec: Option<&ContainerSpec>,
    strategy: Option<&ResetStrategy>,
    golden: Option<&GoldenImage>,
) -> ResetAction {
    let Some(spec) = spec else {
        return ResetAction::Remove;
    };
    let desired = DesiredComponent {
        component: container.component.clone(),
        digest: spec.digest(),
    };
    let steps = compute_plan(&[desired], std::slice::from_ref(container), false);
    let is_up_to_date = steps.iter().all(|step| step.action == PlanAction::Keep);
    let is_golden = golden.is_some_and(|golden| golden.image == container.image);
    match strategy {
        Some(ResetStrategy::WhileRunning(_)) if is_up_to_date => ResetAction::ResetAndPause,
        Some(ResetStrategy::AtNextStart(_)) if is_up_to_date && is_golden => {
            ResetAction::ResetOnStart
        }
        None if spec.mounts.is_empty() => ResetAction::Stop,
        _ => ResetAction::Remove,
    }
}

/// Returns the volumes that no `remaining` container uses, without the marker, which is
/// removed last.
fn obsolete_volumes<'a>(
    volumes: &'a [String],
    marker: &str,
    remaining: &[Container],
    specs: &BTreeMap<String, ContainerSpec>,
) -> Vec<&'a String> {
    let specs = remaining
        .iter()
        .filter_map(|container| specs.get(&container.component));
    let mounts = specs.flat_map(|spec| &spec.mounts);
    let used: BTreeSet<&str> = mounts.map(|mount| mount.volume.as_str()).collect();
    volumes
        .iter()
        .filter(|volume| *volume != marker && !used.contains(volume.as_str()))
        .collect()
}

fn teardown_action(
    stack: &Stack,
    container: &Container,
    spec: Option<&ContainerSpec>,
    golden: Option<&GoldenImage>,
) -> TeardownAction {
    let component = stack.component(&container.component).ok();
    let strategy = component.and_then(|component| component.reset_strategy(&stack.ports));
    match (
        choose_reset_action(container, spec, strategy.as_ref(), golden),
        strategy,
    ) {
        (ResetAction::ResetAndPause, Some(ResetStrategy::WhileRunning(work))) => {
            TeardownAction::PauseAfter(work)
        }
        (ResetAction::ResetOnStart, Some(ResetStrategy::AtNextStart(command))) => {
            TeardownAction::StopAfter(spawn_exec(stack, container, command))
        }
        (ResetAction::Stop, _) => TeardownAction::Stop,
        _ => TeardownAction::Remove,
    }
}

/// Starts a command in a container at once, while its dependents are stopped.
fn spawn_exec(stack: &Stack, container: &Container, command: &[&str]) -> ResetFuture {
    let (engine, name) = (stack.engine.clone(), container.name.clone());
    let spec = ExecSpec {
        command: command.iter().map(|&part| part.to_owned()).collect(),
        ..ExecSpec::default()
    };
    let running = tokio::spawn(async move { engine.exec_output(&name, &spec).await });
    Box::pin(async move {
        match running.await {
            Ok(Ok(output)) if output.exit_code == 0 => Ok(()),
            Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
}

#[cfg(test)]
mod tests {
    use dm_engine::containers::ContainerState;
    use dm_engine::spec::VolumeMount;

    use super::*;
    use crate::test_fixtures::{self, spec};

    fn running() -> ResetStrategy {
        ResetStrategy::WhileRunning(Box::pin(async { Ok(()) }))
    }

    /// Returns a container that matches `spec`.
    fn container(spec: &ContainerSpec) -> Container {
        Container {
            digest: spec.digest(),
            ..test_fixtures::container(&spec.component)
        }
    }

    fn with_data(component: &str) -> ContainerSpec {
        let mut spec = spec(component);
        spec.mounts.push(VolumeMount {
            volume: format!("volume-of-{component}"),
            path: "/data".into(),
        });
        spec
    }

    #[test]
    fn component_resettable_while_running_is_paused() {
        let spec = with_data("rabbitmq");
        let action = |container: &Container| {
            choose_reset_action(container, Some(&spec), Some(&running()), None)
        };
        assert_eq!(action(&container(&spec)), ResetAction::ResetAndPause);
        for state in [
            ContainerState::Exited,
            ContainerState::Paused,
            ContainerState::Created,
        ] {
            let container = Container {
                state,
                ..container(&spec)
            };
            assert_eq!(action(&container), ResetAction::Remove, "{state:?}");
        }
        let changed = Container {
            digest: "another".into(),
            ..container(&spec)
        };
        assert_eq!(action(&changed), ResetAction::Remove);
    }

    #[test]
    fn reset_on_start_requires_golden_data() {
        let spec = with_data("postgres");
        let strategy = ResetStrategy::AtNextStart(&["renew"]);
        let golden = GoldenImage {
            image: "dm/postgres:golden-1".into(),
        };
        let plain = container(&spec);
        let from_golden = Container {
            image: golden.image.clone(),
            ..plain.clone()
        };
        let action =
            |container| choose_reset_action(container, Some(&spec), Some(&strategy), Some(&golden));
        assert_eq!(action(&from_golden), ResetAction::ResetOnStart);
        assert_eq!(action(&plain), ResetAction::Remove);
        // From the golden image of another configuration.
        let from_stale = Container {
            image: "dm/postgres:golden-2".into(),
            ..plain.clone()
        };
        assert_eq!(action(&from_stale), ResetAction::Remove);
        let without_golden = choose_reset_action(&from_golden, Some(&spec), Some(&strategy), None);
        assert_eq!(without_golden, ResetAction::Remove);
    }

    #[test]
    fn reset_on_start_requires_an_up_to_date_running_container() {
        let spec = with_data("postgres");
        let golden = GoldenImage {
            image: "dm/postgres:golden-1".into(),
        };
        let from_golden = Container {
            image: golden.image.clone(),
            ..container(&spec)
        };
        for outdated in [
            Container {
                digest: "another".into(),
                ..from_golden.clone()
            },
            Container {
                state: ContainerState::Exited,
                ..from_golden.clone()
            },
            Container {
                has_network: false,
                ..from_golden.clone()
            },
        ] {
            let strategy = ResetStrategy::AtNextStart(&["renew"]);
            let action =
                choose_reset_action(&outdated, Some(&spec), Some(&strategy), Some(&golden));
            assert_eq!(action, ResetAction::Remove, "{outdated:?}");
        }
    }

    #[test]
    fn container_without_data_is_only_stopped() {
        let (service, directory) = (spec("order"), with_data("openldap"));
        let action =
            |spec: &ContainerSpec| choose_reset_action(&container(spec), Some(spec), None, None);
        assert_eq!(action(&service), ResetAction::Stop);
        assert_eq!(action(&directory), ResetAction::Remove);
        // The next run starts it again.
        let stopped = Container {
            state: ContainerState::Exited,
            ..container(&service)
        };
        assert_eq!(
            choose_reset_action(&stopped, Some(&service), None, None),
            ResetAction::Stop
        );
    }

    #[test]
    fn container_outside_the_stack_is_removed() {
        let action = choose_reset_action(
            &test_fixtures::container("old"),
            None,
            Some(&running()),
            None,
        );
        assert_eq!(action, ResetAction::Remove);
    }

    #[test]
    fn volumes_of_remaining_containers_are_not_obsolete() {
        let (marker, specs) = (
            "marker",
            ["rabbitmq", "postgres"].map(|name| (name.to_owned(), with_data(name))),
        );
        let volumes = [
            "volume-of-rabbitmq",
            "volume-of-postgres",
            marker,
            "volume-of-old",
        ];
        let volumes = volumes.map(str::to_owned);
        let remaining = [
            test_fixtures::container("rabbitmq"),
            test_fixtures::container("old"),
        ];
        assert_eq!(
            obsolete_volumes(&volumes, marker, &remaining, &specs.into()),
            ["volume-of-postgres", "volume-of-old"]
        );
    }
}
