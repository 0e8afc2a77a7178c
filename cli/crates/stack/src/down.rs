//! Takes an instance down: all that carries its labels, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dm_components::Renewing;
use dm_components::gateway_secret;
use dm_core::error::Result;
use dm_engine::EngineError;
use dm_engine::containers::{Container, State};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState};
use super::executor::{self, Emitter, Outcome, Task, TaskError, Work};
use super::{Stack, StackError, failure};

/// What `down` found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Removed {
    /// The components whose containers were removed.
    pub components: Vec<String>,
    /// The volumes that were removed.
    pub volumes: Vec<String>,
    /// The volumes that are still there.
    pub kept_volumes: Vec<String>,
    /// The networks that were removed.
    pub networks: Vec<String>,
    /// How the run over the containers ended.
    #[serde(skip)]
    pub outcome: Outcome,
}

/// Stops and removes the instance's containers, in the order in which they
/// depend on each other, then its network, and its volumes if asked.
///
/// Everything is found by label, so that it works when `dm.toml` has changed
/// since, and whatever a killed run left is found too.
///
/// # Errors
/// Only where the engine fails; a container that can't be stopped is in the outcome.
pub async fn down(
    stack: &Arc<Stack>,
    volumes: bool,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Removed> {
    let filter = stack.instance.filter();
    let containers = stack.containers().await?;
    let containers = containers.into_iter().map(|it| (it, Ending::Removed));
    let mut removed = Removed {
        outcome: end(stack, containers.collect(), emitter, interrupt).await?,
        ..Removed::default()
    };
    removed.components = removed.outcome.done.iter().cloned().collect();
    if !removed.outcome.ok() {
        return Ok(removed);
    }
    // An engine may carry out a killed run's last call only now: what has
    // appeared since the containers were listed is ours to remove as well.
    for late in stack.containers().await? {
        stack.engine.remove(&late.name).await?;
    }
    for network in stack.engine.networks(&filter).await? {
        remove_network(stack, &network).await?;
        removed.networks.push(network);
    }
    let mut found = stack.engine.volumes(&filter).await?;
    // It says that some of the others may be gone already.
    let mark = stack.instance.reset_mark();
    found.retain(|volume| *volume != mark);
    if volumes {
        for volume in &found {
            remove_volume(stack, volume).await?;
        }
        stack.engine.remove_volume(&mark).await?;
        gateway_secret::forget(&stack.state, &stack.instance)?;
        removed.volumes = found;
    } else {
        removed.kept_volumes = found;
    }
    Ok(removed)
}

/// What becomes of a container.
pub(super) enum Ending {
    /// It is stopped and removed.
    Removed,
    /// It is stopped, and can be started again as it is.
    Stopped,
    /// It is stopped once this is done; where it can't be done, it is removed.
    StoppedAfter(Renewing),
    /// The same, and it is frozen instead.
    FrozenAfter(Renewing),
}

/// Ends these containers, what depends on a component before it.
pub(super) async fn end(
    stack: &Arc<Stack>,
    containers: Vec<(Container, Ending)>,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome> {
    let present: BTreeSet<String> = containers
        .iter()
        .map(|(container, _)| container.component.clone())
        .collect();
    let order = stack.graph()?.reversed();
    let tasks: Vec<Task> = containers
        .into_iter()
        .map(|(container, ending)| {
            let after = order
                .with_dependencies(std::slice::from_ref(&container.component))
                .into_iter()
                .filter(|name| *name != container.component && present.contains(name))
                .collect();
            ending_task(stack, container, ending, after, emitter)
        })
        .collect();
    let nodes = tasks.iter().map(|task| task.node.clone()).collect();
    emitter.announce(&stack.instance.name, nodes);
    Ok(executor::run(tasks, emitter, interrupt).await?)
}

/// Removes the network, or says who is on it.
async fn remove_network(stack: &Stack, network: &str) -> Result<()> {
    let Err(error) = stack.engine.remove_network(network).await else {
        return Ok(());
    };
    let users = stack
        .engine
        .network_users(network)
        .await
        .unwrap_or_default();
    if users.is_empty() {
        return Err(error.into());
    }
    Err(StackError::NetworkInUse {
        network: network.to_owned(),
        users,
    }
    .into())
}

/// Removes the volume; a container of ours that appeared in between goes first.
pub(super) async fn remove_volume(stack: &Stack, volume: &str) -> Result<()> {
    let Err(error) = stack.engine.remove_volume(volume).await else {
        return Ok(());
    };
    let late = stack.containers().await?;
    if late.is_empty() {
        return Err(error.into());
    }
    for container in late {
        stack.engine.remove(&container.name).await?;
    }
    Ok(stack.engine.remove_volume(volume).await?)
}

/// The task that ends one container.
pub(super) fn ending_task(
    stack: &Arc<Stack>,
    container: Container,
    ending: Ending,
    after: Vec<String>,
    emitter: &Emitter,
) -> Task {
    let node = Node {
        name: container.component.clone(),
        kind: NodeKind::Service,
        after,
    };
    let (stack, emitter) = (stack.clone(), emitter.clone());
    let work = move |cancel: CancellationToken| {
        Box::pin(async move {
            emitter.node(&container.component, NodeState::Stopping);
            let gone = end_one(&stack, &container, ending, &emitter);
            tokio::select! {
                () = cancel.cancelled() => Err(TaskError::Cancelled),
                gone = gone => match gone {
                    Ok(()) => Ok(NodeState::Gone),
                    Err(error) => Err(TaskError::Failed(Box::new(
                        failure::of_error(&container.component, &error, emitter.at()),
                    ))),
                },
            }
        }) as Work
    };
    Task {
        node,
        work: Box::new(work),
    }
}

async fn end_one(
    stack: &Stack,
    container: &Container,
    ending: Ending,
    emitter: &Emitter,
) -> Result<(), EngineError> {
    let (engine, name) = (&stack.engine, &container.name);
    let note = |reason| {
        let note = format!("must be created again: {reason}");
        emitter.note(Some(&container.component), note);
    };
    let is_kept = match ending {
        Ending::Removed => false,
        Ending::Stopped => true,
        Ending::StoppedAfter(work) => work.await.map_err(note).is_ok(),
        Ending::FrozenAfter(work) => match work.await.map_err(note) {
            Ok(()) => return engine.pause(name).await,
            Err(()) => false,
        },
    };
    if container.state == State::Paused {
        // A frozen process can't act on its stop signal.
        engine.unpause(name).await?;
    }
    // The longest that any component is given: what ended earlier is not waited for.
    engine.stop(name, Duration::from_secs(30)).await?;
    if is_kept {
        return Ok(());
    }
    engine.remove(name).await
}
