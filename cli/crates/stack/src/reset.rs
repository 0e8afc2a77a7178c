//! Throws an instance's data away, while what can be made as new without being started
//! again stays.
//!
//! Most of a fresh start's time is that of the Java and Erlang runtimes. Keycloak's data is
//! in the database, and the golden database has that of its first start: it can stay once
//! it has forgotten all that it has read. The broker declares its topology anew. Both are
//! frozen then until the rest is there, so that nobody has them do anything meanwhile.
//!
//! A mark in the engine says that a reset is under way. Killed at any moment, the next run
//! finds it and throws all of the instance away, as was asked for.

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

/// Stops the instance and removes its data. What is as after a first start then, or has no
/// data of its own, is left to be started again.
///
/// # Errors
/// Only where the engine fails; a container that can't be stopped is in the outcome.
pub async fn clear_instance(
    stack: &Arc<Stack>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let mark = stack.instance.reset_marker_volume();
    let goldens = golden::find_golden_images(stack).await?;
    if goldens.is_empty() || is_reset_unfinished(stack).await? {
        return Ok(down::down(stack, true, emitter, interrupt).await?.outcome);
    }
    let specs = container_specs(stack)?;
    let labels = stack.instance.labels();
    stack.engine.ensure_volume(&mark, &labels).await?;
    let mut endings = Vec::new();
    for container in stack.list_containers().await? {
        let golden = goldens.get(&container.component);
        let spec = specs.get(&container.component);
        let ending = teardown_action(stack, &container, spec, golden);
        endings.push((container, ending));
    }
    let outcome = down::tear_down(stack, endings, emitter, interrupt).await?;
    if !outcome.is_success() {
        return Ok(outcome);
    }
    // What could not be made as new is gone by now, and its data goes, too.
    let left = stack.list_containers().await?;
    let volumes = stack
        .engine
        .list_volumes(&stack.instance.label_filter())
        .await?;
    for volume in obsolete_volumes(&volumes, &mark, &left, &specs) {
        down::remove_volume(stack, volume).await?;
    }
    stack.engine.remove_volume(&mark).await?;
    Ok(outcome)
}

/// What the container of each component should be.
fn container_specs(stack: &Stack) -> Result<BTreeMap<String, ContainerSpec>> {
    let site = stack.instance_layout();
    let specify = |component: &Arc<dyn Component>| {
        let spec = stack.container_spec(component.as_ref(), &site)?;
        Ok((component.name().to_owned(), spec))
    };
    stack.components.iter().map(specify).collect()
}

/// Finishes a reset that was cut short, if there is one.
///
/// # Errors
/// As [`clear`].
pub async fn finish_interrupted_reset(
    stack: &Arc<Stack>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<Option<RunOutcome>> {
    if !is_reset_unfinished(stack).await? {
        return Ok(None);
    }
    emitter.emit_note(None, "a reset was interrupted: removing the remaining data");
    let removed = down::down(stack, true, emitter, interrupt).await?;
    Ok(Some(removed.outcome))
}

/// Whether a reset was cut short, so that the next run throws all data away.
///
/// # Errors
/// The engine fails.
pub async fn is_reset_unfinished(stack: &Stack) -> Result<bool> {
    let volumes = stack
        .engine
        .list_volumes(&stack.instance.label_filter())
        .await?;
    Ok(volumes.contains(&stack.instance.reset_marker_volume()))
}

/// What becomes of a container by a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResetAction {
    /// It goes.
    Remove,
    /// It has nothing to forget, and is started again as it is.
    Stop,
    /// It is made as new at its next start.
    ResetOnStart,
    /// It is made as new while it runs, and is frozen then.
    ResetAndPause,
}

/// Decides what becomes of a container that should be as `spec` says; of one without, nothing
/// is known.
fn choose_reset_action(
    container: &Container,
    spec: Option<&ContainerSpec>,
    renewal: Option<&ResetStrategy>,
    golden: Option<&GoldenImage>,
) -> ResetAction {
    let Some(spec) = spec else {
        return ResetAction::Remove;
    };
    let wanted = DesiredComponent {
        component: container.component.clone(),
        digest: spec.digest(),
    };
    let steps = compute_plan(&[wanted], std::slice::from_ref(container), false);
    let runs = steps.iter().all(|step| step.action == PlanAction::Keep);
    let is_golden = golden.is_some_and(|golden| golden.image == container.image);
    match renewal {
        Some(ResetStrategy::WhileRunning(_)) if runs => ResetAction::ResetAndPause,
        Some(ResetStrategy::AtNextStart(_)) if runs && is_golden => ResetAction::ResetOnStart,
        None if spec.mounts.is_empty() => ResetAction::Stop,
        _ => ResetAction::Remove,
    }
}

/// The volumes that none of the containers that are `left` has. The mark is not among them:
/// it goes last.
fn obsolete_volumes<'a>(
    volumes: &'a [String],
    mark: &str,
    left: &[Container],
    specs: &BTreeMap<String, ContainerSpec>,
) -> Vec<&'a String> {
    let specs = left.iter().filter_map(|it| specs.get(&it.component));
    let mounts = specs.flat_map(|spec| &spec.mounts);
    let kept: BTreeSet<&str> = mounts.map(|mount| mount.volume.as_str()).collect();
    volumes
        .iter()
        .filter(|volume| *volume != mark && !kept.contains(volume.as_str()))
        .collect()
}

fn teardown_action(
    stack: &Stack,
    container: &Container,
    spec: Option<&ContainerSpec>,
    golden: Option<&GoldenImage>,
) -> TeardownAction {
    let component = stack.component(&container.component).ok();
    let renewal = component.and_then(|component| component.reset_strategy(&stack.ports));
    match (
        choose_reset_action(container, spec, renewal.as_ref(), golden),
        renewal,
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

/// Begins a command in a container at once, while whoever depends on it is ended.
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

    /// A container that is what `spec` says.
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
    fn what_forgets_while_it_runs_is_frozen() {
        let spec = with_data("rabbitmq");
        let fate = |container: &Container| {
            choose_reset_action(container, Some(&spec), Some(&running()), None)
        };
        assert_eq!(fate(&container(&spec)), ResetAction::ResetAndPause);
        for state in [
            ContainerState::Exited,
            ContainerState::Paused,
            ContainerState::Created,
        ] {
            let container = Container {
                state,
                ..container(&spec)
            };
            assert_eq!(fate(&container), ResetAction::Remove, "{state:?}");
        }
        let changed = Container {
            digest: "another".into(),
            ..container(&spec)
        };
        assert_eq!(fate(&changed), ResetAction::Remove);
    }

    #[test]
    fn what_is_renewed_by_its_start_needs_golden_data() {
        let spec = with_data("postgres");
        let renewal = ResetStrategy::AtNextStart(&["renew"]);
        let golden = GoldenImage {
            image: "dm/postgres:golden-1".into(),
        };
        let plain = container(&spec);
        let from_golden = Container {
            image: golden.image.clone(),
            ..plain.clone()
        };
        let fate =
            |container| choose_reset_action(container, Some(&spec), Some(&renewal), Some(&golden));
        assert_eq!(fate(&from_golden), ResetAction::ResetOnStart);
        assert_eq!(fate(&plain), ResetAction::Remove);
    }

    #[test]
    fn what_has_nothing_to_forget_is_only_stopped() {
        let (service, directory) = (spec("order"), with_data("openldap"));
        let of =
            |spec: &ContainerSpec| choose_reset_action(&container(spec), Some(spec), None, None);
        assert_eq!(of(&service), ResetAction::Stop);
        assert_eq!(of(&directory), ResetAction::Remove);
        // Its next start makes it what it should be.
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
    fn what_is_no_part_of_the_stack_is_removed() {
        let fate = choose_reset_action(
            &test_fixtures::container("old"),
            None,
            Some(&running()),
            None,
        );
        assert_eq!(fate, ResetAction::Remove);
    }

    #[test]
    fn the_data_of_what_is_left_stays() {
        let (mark, specs) = (
            "mark",
            ["rabbitmq", "postgres"].map(|name| (name.to_owned(), with_data(name))),
        );
        let volumes = [
            "volume-of-rabbitmq",
            "volume-of-postgres",
            mark,
            "volume-of-old",
        ];
        let volumes = volumes.map(str::to_owned);
        let left = [
            test_fixtures::container("rabbitmq"),
            test_fixtures::container("old"),
        ];
        assert_eq!(
            obsolete_volumes(&volumes, mark, &left, &specs.into()),
            ["volume-of-postgres", "volume-of-old"]
        );
    }
}
