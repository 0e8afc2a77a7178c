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

use dm_components::{Component, Renewal, Renewing};
use dm_core::error::Result;
use dm_engine::containers::Container;
use dm_engine::exec::ExecSpec;
use dm_engine::spec::ContainerSpec;
use tokio_util::sync::CancellationToken;

use super::Stack;
use super::down::{self, Ending};
use super::executor::{Emitter, Outcome};
use super::golden::{self, Golden};
use super::plan::{Action, Wanted, plan};

/// Stops the instance and removes its data. What is as after a first start then, or has no
/// data of its own, is left to be started again.
///
/// # Errors
/// Only where the engine fails; a container that can't be stopped is in the outcome.
pub async fn clear(
    stack: &Arc<Stack>,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome> {
    let mark = stack.instance.reset_mark();
    let goldens = golden::find(stack).await?;
    if goldens.is_empty() || is_unfinished(stack).await? {
        return Ok(down::down(stack, true, emitter, interrupt).await?.outcome);
    }
    let specs = specifications(stack)?;
    let labels = stack.instance.labels();
    stack.engine.ensure_volume(&mark, &labels).await?;
    let mut endings = Vec::new();
    for container in stack.containers().await? {
        let golden = goldens.get(&container.component);
        let spec = specs.get(&container.component);
        let ending = ending(stack, &container, spec, golden);
        endings.push((container, ending));
    }
    let outcome = down::end(stack, endings, emitter, interrupt).await?;
    if !outcome.ok() {
        return Ok(outcome);
    }
    // What could not be made as new is gone by now, and its data goes, too.
    let left = stack.containers().await?;
    let volumes = stack.engine.volumes(&stack.instance.filter()).await?;
    for volume in thrown_away(&volumes, &mark, &left, &specs) {
        down::remove_volume(stack, volume).await?;
    }
    stack.engine.remove_volume(&mark).await?;
    Ok(outcome)
}

/// What the container of each component should be.
fn specifications(stack: &Stack) -> Result<BTreeMap<String, ContainerSpec>> {
    let site = stack.site();
    let specify = |component: &Arc<dyn Component>| {
        let spec = stack.specify(component.as_ref(), &site)?;
        Ok((component.name().to_owned(), spec))
    };
    stack.components.iter().map(specify).collect()
}

/// Finishes a reset that was cut short, if there is one.
///
/// # Errors
/// As [`clear`].
pub async fn finish(
    stack: &Arc<Stack>,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Option<Outcome>> {
    if !is_unfinished(stack).await? {
        return Ok(None);
    }
    emitter.note(None, "a reset was interrupted: removing the remaining data");
    let removed = down::down(stack, true, emitter, interrupt).await?;
    Ok(Some(removed.outcome))
}

/// Whether a reset was cut short, so that the next run throws all data away.
///
/// # Errors
/// The engine fails.
pub async fn is_unfinished(stack: &Stack) -> Result<bool> {
    let volumes = stack.engine.volumes(&stack.instance.filter()).await?;
    Ok(volumes.contains(&stack.instance.reset_mark()))
}

/// What becomes of a container by a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It goes.
    Removed,
    /// It has nothing to forget, and is started again as it is.
    Stopped,
    /// It is made as new at its next start.
    RenewedByStart,
    /// It is made as new while it runs, and is frozen then.
    Frozen,
}

/// Decides what becomes of a container that should be as `spec` says; of one without, nothing
/// is known.
fn fate(
    container: &Container,
    spec: Option<&ContainerSpec>,
    renewal: Option<&Renewal>,
    golden: Option<&Golden>,
) -> Fate {
    let Some(spec) = spec else {
        return Fate::Removed;
    };
    let wanted = Wanted {
        component: container.component.clone(),
        digest: spec.digest(),
    };
    let steps = plan(&[wanted], std::slice::from_ref(container), false);
    let runs = steps.iter().all(|step| step.action == Action::Keep);
    let is_golden = golden.is_some_and(|golden| golden.image == container.image);
    match renewal {
        Some(Renewal::Running(_)) if runs => Fate::Frozen,
        Some(Renewal::Starting(_)) if runs && is_golden => Fate::RenewedByStart,
        None if spec.mounts.is_empty() => Fate::Stopped,
        _ => Fate::Removed,
    }
}

/// The volumes that none of the containers that are `left` has. The mark is not among them:
/// it goes last.
fn thrown_away<'a>(
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

fn ending(
    stack: &Stack,
    container: &Container,
    spec: Option<&ContainerSpec>,
    golden: Option<&Golden>,
) -> Ending {
    let component = stack.component(&container.component).ok();
    let renewal = component.and_then(|component| component.renewal(&stack.ports));
    match (fate(container, spec, renewal.as_ref(), golden), renewal) {
        (Fate::Frozen, Some(Renewal::Running(work))) => Ending::FrozenAfter(work),
        (Fate::RenewedByStart, Some(Renewal::Starting(command))) => {
            Ending::StoppedAfter(begun(stack, container, command))
        }
        (Fate::Stopped, _) => Ending::Stopped,
        _ => Ending::Removed,
    }
}

/// Begins a command in a container at once, while whoever depends on it is ended.
fn begun(stack: &Stack, container: &Container, command: &[&str]) -> Renewing {
    let (engine, name) = (stack.engine.clone(), container.name.clone());
    let spec = ExecSpec {
        command: command.iter().map(|&part| part.to_owned()).collect(),
        ..ExecSpec::default()
    };
    let running = tokio::spawn(async move { engine.exec_collect(&name, &spec).await });
    Box::pin(async move {
        match running.await {
            Ok(Ok(output)) if output.code == 0 => Ok(()),
            Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.err).trim().to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
}

#[cfg(test)]
mod tests {
    use dm_engine::containers::State;
    use dm_engine::spec::Mount;

    use super::*;
    use crate::examples::{self, spec};

    fn running() -> Renewal {
        Renewal::Running(Box::pin(async { Ok(()) }))
    }

    /// A container that is what `spec` says.
    fn container(spec: &ContainerSpec) -> Container {
        Container {
            digest: spec.digest(),
            ..examples::container(&spec.component)
        }
    }

    fn with_data(component: &str) -> ContainerSpec {
        let mut spec = spec(component);
        spec.mounts.push(Mount {
            volume: format!("volume-of-{component}"),
            path: "/data".into(),
        });
        spec
    }

    #[test]
    fn what_forgets_while_it_runs_is_frozen() {
        let spec = with_data("rabbitmq");
        let fate = |container: &Container| fate(container, Some(&spec), Some(&running()), None);
        assert_eq!(fate(&container(&spec)), Fate::Frozen);
        for state in [State::Exited, State::Paused, State::Created] {
            let container = Container {
                state,
                ..container(&spec)
            };
            assert_eq!(fate(&container), Fate::Removed, "{state:?}");
        }
        let changed = Container {
            digest: "another".into(),
            ..container(&spec)
        };
        assert_eq!(fate(&changed), Fate::Removed);
    }

    #[test]
    fn what_is_renewed_by_its_start_needs_golden_data() {
        let spec = with_data("postgres");
        let renewal = Renewal::Starting(&["renew"]);
        let golden = Golden {
            image: "dm/postgres:golden-1".into(),
        };
        let plain = container(&spec);
        let from_golden = Container {
            image: golden.image.clone(),
            ..plain.clone()
        };
        let fate = |container| fate(container, Some(&spec), Some(&renewal), Some(&golden));
        assert_eq!(fate(&from_golden), Fate::RenewedByStart);
        assert_eq!(fate(&plain), Fate::Removed);
    }

    #[test]
    fn what_has_nothing_to_forget_is_only_stopped() {
        let (service, directory) = (spec("order"), with_data("openldap"));
        let of = |spec: &ContainerSpec| fate(&container(spec), Some(spec), None, None);
        assert_eq!(of(&service), Fate::Stopped);
        assert_eq!(of(&directory), Fate::Removed);
        // Its next start makes it what it should be.
        let stopped = Container {
            state: State::Exited,
            ..container(&service)
        };
        assert_eq!(fate(&stopped, Some(&service), None, None), Fate::Stopped);
    }

    #[test]
    fn what_is_no_part_of_the_stack_is_removed() {
        let fate = fate(&examples::container("old"), None, Some(&running()), None);
        assert_eq!(fate, Fate::Removed);
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
        let left = [examples::container("rabbitmq"), examples::container("old")];
        assert_eq!(
            thrown_away(&volumes, mark, &left, &specs.into()),
            ["volume-of-postgres", "volume-of-old"]
        );
    }
}
