//! Takes an instance down: all that carries its labels, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dm_components::ResetFuture;
use dm_components::gateway_secret;
use dm_core::error::Result;
use dm_engine::EngineError;
use dm_engine::containers::{Container, ContainerState};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::event::{Node, NodeKind, NodeState};
use super::executor::{self, EventEmitter, RunOutcome, Task, TaskError, TaskFuture};
use super::{Stack, StackError, failure};

/// What `down` found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DownReport {
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
    pub outcome: RunOutcome,
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
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<DownReport> {
    let filter = stack.instance.label_filter();
    let containers = stack.list_containers().await?;
    let containers = containers
        .into_iter()
        .map(|it| (it, TeardownAction::Remove));
    let mut removed = DownReport {
        outcome: tear_down(stack, containers.collect(), emitter, interrupt).await?,
        ..DownReport::default()
    };
    removed.components = removed.outcome.completed.iter().cloned().collect();
    if !removed.outcome.is_success() {
        return Ok(removed);
    }
    // An engine may carry out a killed run's last call only now: what has
    // appeared since the containers were listed is ours to remove as well.
    for late in stack.list_containers().await? {
        stack.engine.remove_container(&late.name).await?;
    }
    for network in stack.engine.list_networks(&filter).await? {
        remove_network(stack, &network).await?;
        removed.networks.push(network);
    }
    let mut found = stack.engine.list_volumes(&filter).await?;
    // It says that some of the others may be gone already.
    let mark = stack.instance.reset_marker_volume();
    found.retain(|volume| *volume != mark);
    if volumes {
        for volume in &found {
            remove_volume(stack, volume).await?;
        }
        stack.engine.remove_volume(&mark).await?;
        gateway_secret::remove(&stack.state_dir, &stack.instance)?;
        removed.volumes = found;
    } else {
        removed.kept_volumes = found;
    }
    Ok(removed)
}

/// What becomes of a container.
pub(super) enum TeardownAction {
    /// It is stopped and removed.
    Remove,
    /// It is stopped, and can be started again as it is.
    Stop,
    /// It is stopped once this is done; where it can't be done, it is removed.
    StopAfter(ResetFuture),
    /// The same, and it is frozen instead.
    PauseAfter(ResetFuture),
}

/// Ends these containers, what depends on a component before it.
pub(super) async fn tear_down(
    stack: &Arc<Stack>,
    containers: Vec<(Container, TeardownAction)>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let present: BTreeSet<String> = containers
        .iter()
        .map(|(container, _)| container.component.clone())
        .collect();
    let order = stack.graph()?.reversed();
    let tasks: Vec<Task> = containers
        .into_iter()
        .map(|(container, ending)| {
            let after = order
                .transitive_dependencies(std::slice::from_ref(&container.component))
                .into_iter()
                .filter(|name| *name != container.component && present.contains(name))
                .collect();
            teardown_task(stack, container, ending, after, emitter)
        })
        .collect();
    let nodes = tasks.iter().map(|task| task.node.clone()).collect();
    emitter.emit_started(&stack.instance.name, nodes);
    Ok(executor::run_tasks(tasks, emitter, interrupt).await?)
}

/// Removes the network, or says who is on it.
async fn remove_network(stack: &Stack, network: &str) -> Result<()> {
    let Err(error) = stack.engine.remove_network(network).await else {
        return Ok(());
    };
    let users = stack
        .engine
        .network_members(network)
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
    let late = stack.list_containers().await?;
    if late.is_empty() {
        return Err(error.into());
    }
    for container in late {
        stack.engine.remove_container(&container.name).await?;
    }
    Ok(stack.engine.remove_volume(volume).await?)
}

/// The task that ends one container.
pub(super) fn teardown_task(
    stack: &Arc<Stack>,
    container: Container,
    ending: TeardownAction,
    after: Vec<String>,
    emitter: &EventEmitter,
) -> Task {
    let node = Node {
        name: container.component.clone(),
        kind: NodeKind::Service,
        after,
    };
    let (stack, emitter) = (stack.clone(), emitter.clone());
    let work = move |cancel: CancellationToken| {
        Box::pin(async move {
            emitter.emit_state(&container.component, NodeState::Stopping);
            let gone = tear_down_container(&stack, &container, ending, &emitter);
            tokio::select! {
                () = cancel.cancelled() => Err(TaskError::Cancelled),
                gone = gone => match gone {
                    Ok(()) => Ok(NodeState::Gone),
                    Err(error) => Err(TaskError::Failed(Box::new(
                        failure::from_error(&container.component, &error, emitter.elapsed()),
                    ))),
                },
            }
        }) as TaskFuture
    };
    Task {
        node,
        work: Box::new(work),
    }
}

async fn tear_down_container(
    stack: &Stack,
    container: &Container,
    ending: TeardownAction,
    emitter: &EventEmitter,
) -> Result<(), EngineError> {
    let (engine, name) = (&stack.engine, &container.name);
    let note = |reason| {
        let note = format!("must be created again: {reason}");
        emitter.emit_note(Some(&container.component), note);
    };
    let is_kept = match ending {
        TeardownAction::Remove => false,
        TeardownAction::Stop => true,
        TeardownAction::StopAfter(work) => work.await.map_err(note).is_ok(),
        TeardownAction::PauseAfter(work) => match work.await.map_err(note) {
            Ok(()) => return engine.pause_container(name).await,
            Err(()) => false,
        },
    };
    if container.state == ContainerState::Paused {
        // A frozen process can't act on its stop signal.
        engine.unpause_container(name).await?;
    }
    // The longest that any component is given: what ended earlier is not waited for.
    engine.stop_container(name, Duration::from_secs(30)).await?;
    if is_kept {
        return Ok(());
    }
    engine.remove_container(name).await
}
