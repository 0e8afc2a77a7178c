//! Takes an instance down: removes everything with its labels, and nothing else.

mod decision;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dm_components::ResetFuture;
use dm_components::gateway_secret;
use dm_core::error::{Result, error_chain};
use dm_engine::EngineError;
use dm_engine::containers::Container;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::decision::{StopStep, VolumeDecision, decide_volumes, network_error, stop_steps};
use super::event::{Node, NodeKind, NodeState};
use super::executor::{self, EventEmitter, RunOutcome, Task, TaskError, TaskFuture};
use super::{Stack, failure};

/// The result of [`down`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DownReport {
    /// The components whose containers were removed.
    pub components: Vec<String>,
    /// The volumes that were removed.
    pub volumes: Vec<String>,
    /// The volumes that were not removed.
    pub kept_volumes: Vec<String>,
    /// The networks that were removed.
    pub networks: Vec<String>,
    /// The outcome of the run that removed the containers.
    #[serde(skip)]
    pub outcome: RunOutcome,
}

/// Stops and removes the instance's containers, dependents first, then its
/// network, and its volumes if `volumes` is set.
///
/// Everything is found by label. A `dm.toml` that has changed since does not
/// matter, and leftovers of a killed run are found, too.
///
/// # Errors
/// If an engine request fails. A container that cannot be stopped is in the outcome.
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
        .map(|container| (container, TeardownAction::Remove));
    let mut report = DownReport {
        outcome: tear_down(stack, containers.collect(), emitter, interrupt).await?,
        ..DownReport::default()
    };
    report.components = report.outcome.completed.iter().cloned().collect();
    if !report.outcome.is_success() {
        return Ok(report);
    }
    // The engine may execute a killed run's last request only now: containers that
    // have appeared since the listing belong to the instance as well.
    for late in stack.list_containers().await? {
        stack.engine.remove_container(&late.name).await?;
    }
    for network in stack.engine.list_networks(&filter).await? {
        remove_network(stack, &network).await?;
        report.networks.push(network);
    }
    let existing = stack.engine.list_volumes(&filter).await?;
    let marker = stack.instance.reset_marker_volume();
    let VolumeDecision { removed, kept } = decide_volumes(existing, &marker, volumes);
    for volume in &removed {
        remove_volume(stack, volume).await?;
    }
    if volumes {
        // The marker states that other volumes may be removed already.
        stack.engine.remove_volume(&marker).await?;
        gateway_secret::remove(&stack.state_dir, &stack.instance)?;
    }
    report.volumes = removed;
    report.kept_volumes = kept;
    Ok(report)
}

/// The way in which a container is taken down.
pub(super) enum TeardownAction {
    /// Stop and remove it.
    Remove,
    /// Stop it. It can be started again as it is.
    Stop,
    /// Reset its data with this future, then stop it. Remove it if the reset fails.
    StopAfter(ResetFuture),
    /// Reset its data with this future, then pause it. Remove it if the reset fails.
    PauseAfter(ResetFuture),
}

/// Takes these containers down, dependents first.
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
    let graph = stack.graph()?;
    let tasks: Vec<Task> = containers
        .into_iter()
        .map(|(container, action)| {
            // Also those that depend on it through a job, or through a component without a
            // container.
            let mut after = graph.dependents(&container.component);
            after.retain(|dependent| present.contains(dependent));
            let after = after.into_iter().collect();
            teardown_task(stack, container, action, after, emitter)
        })
        .collect();
    let nodes = tasks.iter().map(|task| task.node.clone()).collect();
    emitter.emit_started(&stack.instance.name, nodes);
    Ok(executor::run_tasks(tasks, emitter, interrupt).await?)
}

/// Removes the network. The error names the containers that still use it.
async fn remove_network(stack: &Stack, network: &str) -> Result<()> {
    let Err(error) = stack.engine.remove_network(network).await else {
        return Ok(());
    };
    let users = stack
        .engine
        .network_members(network)
        .await
        .unwrap_or_default();
    Err(network_error(network, users, error))
}

/// Removes the volume. Removes containers of the instance first that appeared meanwhile.
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

/// Returns the task that takes one container down.
pub(super) fn teardown_task(
    stack: &Arc<Stack>,
    container: Container,
    action: TeardownAction,
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
            let teardown = tear_down_container(&stack, &container, action, &emitter);
            tokio::select! {
                () = cancel.cancelled() => Err(TaskError::Cancelled),
                result = teardown => match result {
                    Ok(()) => Ok(NodeState::Removed),
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
    action: TeardownAction,
    emitter: &EventEmitter,
) -> Result<(), EngineError> {
    let (engine, name) = (&stack.engine, &container.name);
    let note = |reason: &str| {
        let note = format!("must be created again: {reason}");
        emitter.emit_note(Some(&container.component), note);
    };
    let is_kept = match action {
        TeardownAction::Remove => false,
        TeardownAction::Stop => true,
        TeardownAction::StopAfter(work) => work.await.inspect_err(|reason| note(reason)).is_ok(),
        TeardownAction::PauseAfter(work) => {
            match work.await {
                // Not every engine can pause containers, e.g. one without a freezer.
                Ok(()) => match engine.pause_container(name).await {
                    Ok(()) => return Ok(()),
                    Err(error) => note(&error_chain(&error).join(": ")),
                },
                Err(reason) => note(&reason),
            }
            false
        }
    };
    for step in stop_steps(container.state, is_kept) {
        match step {
            StopStep::Unpause => engine.unpause_container(name).await?,
            // The longest stop timeout of all components. The engine waits no longer than needed.
            StopStep::Stop => engine.stop_container(name, Duration::from_secs(30)).await?,
            StopStep::Remove => engine.remove_container(name).await?,
        }
    }
    Ok(())
}
