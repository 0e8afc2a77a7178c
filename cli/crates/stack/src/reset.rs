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

use std::collections::BTreeSet;
use std::sync::Arc;

use dm_components::{Renewal, Renewing};
use dm_core::error::Result;
use dm_engine::containers::Container;
use dm_engine::exec::ExecSpec;
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
    let filter = stack.instance.filter();
    let mark = stack.instance.reset_mark();
    let goldens = golden::find(stack).await?;
    if goldens.is_empty() || is_unfinished(stack).await? {
        return Ok(down::down(stack, true, emitter, interrupt).await?.outcome);
    }
    let labels = stack.instance.labels();
    stack.engine.ensure_volume(&mark, &labels).await?;
    let mut endings = Vec::new();
    for container in stack.engine.containers(&filter).await? {
        let golden = goldens.get(&container.component);
        let ending = ending(stack, &container, golden)?;
        endings.push((container, ending));
    }
    let outcome = down::end(stack, endings, emitter, interrupt).await?;
    if !outcome.ok() {
        return Ok(outcome);
    }
    let mut kept = BTreeSet::from([mark.clone()]);
    for container in stack.engine.containers(&filter).await? {
        let Ok(component) = stack.component(&container.component) else {
            continue;
        };
        let mounts = stack.specify(component.as_ref(), &stack.site())?.mounts;
        kept.extend(mounts.into_iter().map(|mount| mount.volume));
    }
    for volume in stack.engine.volumes(&filter).await? {
        if !kept.contains(&volume) {
            down::remove_volume(stack, &volume).await?;
        }
    }
    stack.engine.remove_volume(&mark).await?;
    Ok(outcome)
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
    emitter.note(None, "a reset was cut short: the rest of the data goes now");
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

fn ending(stack: &Stack, container: &Container, golden: Option<&Golden>) -> Result<Ending> {
    let Ok(component) = stack.component(&container.component) else {
        return Ok(Ending::Removed);
    };
    let spec = stack.specify(component.as_ref(), &stack.site())?;
    let wanted = Wanted {
        component: container.component.clone(),
        digest: spec.digest(),
    };
    let steps = plan(&[wanted], std::slice::from_ref(container), false);
    let runs = steps.iter().all(|step| step.action == Action::Keep);
    let is_golden = golden.is_some_and(|golden| golden.image == container.image);
    Ok(match component.renewal(&stack.ports) {
        Some(Renewal::Running(work)) if runs => Ending::FrozenAfter(work),
        Some(Renewal::Starting(command)) if runs && is_golden => {
            Ending::StoppedAfter(begun(stack, container, command))
        }
        None if spec.mounts.is_empty() => Ending::Stopped,
        _ => Ending::Removed,
    })
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
