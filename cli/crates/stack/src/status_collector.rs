//! What there is of an instance, component by component.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_components::Component;
use dm_core::error::Result;
use dm_engine::containers::{Container, ContainerState};
use futures_util::future::join_all;

use super::Stack;
use super::event::NodeKind;
use super::status::{ComponentState, StatusRow};

/// How long a component may take to answer before it is called unhealthy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The rows of `dm status`: every component of the stack, and whatever else of
/// the instance is there. Components are asked by their own protocols, at once.
/// Their memory is asked for where `memory` is set: that can take a second.
///
/// # Errors
/// A failing engine.
pub async fn collect_status(stack: &Stack, memory: bool) -> Result<Vec<StatusRow>> {
    let containers = stack.list_containers().await?;
    collect_status_from(stack, &containers, &BTreeSet::new(), memory).await
}

/// As [`rows`], where it is known which containers there are, and which components have just
/// answered that they are `ready`.
///
/// # Errors
/// A failing engine.
pub async fn collect_status_from(
    stack: &Stack,
    containers: &[Container],
    ready: &BTreeSet<String>,
    memory: bool,
) -> Result<Vec<StatusRow>> {
    let known = stack.components.iter().map(|component| {
        let name = component.name();
        let container = containers.iter().find(|it| it.component == name);
        let is_ready = ready.contains(name);
        component_row(stack, component.as_ref(), container, is_ready, memory)
    });
    let mut rows: Vec<StatusRow> = join_all(known).await.into_iter().collect::<Result<_>>()?;
    for container in containers {
        if !rows.iter().any(|row| row.component == container.component) {
            rows.push(StatusRow {
                component: container.component.clone(),
                kind: NodeKind::Service,
                state: container_state(stack, container).await?,
                addresses: Vec::new(),
                since: None,
                image: Some(container.image.clone()),
                memory: None,
                detail: Some("no longer part of the stack; the next dm up removes it".into()),
            });
        }
    }
    Ok(rows)
}

async fn component_row(
    stack: &Stack,
    component: &dyn Component,
    container: Option<&Container>,
    is_ready: bool,
    memory: bool,
) -> Result<StatusRow> {
    let mut row = StatusRow {
        component: component.name().to_owned(),
        kind: NodeKind::Service,
        state: ComponentState::Missing,
        addresses: component.addresses(&stack.ports),
        since: None,
        image: None,
        memory: None,
        detail: None,
    };
    let Some(container) = container else {
        row.addresses.clear();
        return Ok(row);
    };
    row.image = Some(container.image.clone());
    if container.state != ContainerState::Running {
        row.state = container_state(stack, container).await?;
        return Ok(row);
    }
    let probe = async {
        if is_ready {
            return Ok(Ok(()));
        }
        tokio::time::timeout(PROBE_TIMEOUT, component.probe(&stack.ports)).await
    };
    let used = async {
        if memory {
            stack
                .engine
                .memory_usage(&container.name)
                .await
                .ok()
                .flatten()
        } else {
            None
        }
    };
    let (inspected, answer, used) =
        tokio::join!(stack.engine.inspect_container(&container.name), probe, used);
    let started = inspected?.and_then(|inspected| inspected.started_at);
    row.since = started.as_deref().and_then(elapsed_since);
    row.memory = used;
    let wait = component.wait_timeout().unwrap_or(stack.wait_timeout);
    match answer {
        Ok(Ok(())) => {
            row.detail = component.warning();
            row.state = match row.detail {
                Some(_) => ComponentState::Unhealthy,
                None => ComponentState::Ready,
            };
        }
        Ok(Err(answer)) => {
            row.state = unready_state(row.since, wait);
            row.detail = Some(answer.to_string());
        }
        Err(_) => {
            row.state = unready_state(row.since, wait);
            row.detail = Some(format!("no answer within {} s", PROBE_TIMEOUT.as_secs()));
        }
    }
    Ok(row)
}

/// A container that doesn't answer may yet, as long as its time isn't up.
fn unready_state(since: Option<Duration>, wait: Duration) -> ComponentState {
    if since.is_some_and(|since| since > wait) {
        ComponentState::Unhealthy
    } else {
        ComponentState::Starting
    }
}

async fn container_state(stack: &Stack, container: &Container) -> Result<ComponentState> {
    Ok(match container.state {
        ContainerState::Running | ContainerState::Restarting => ComponentState::Starting,
        ContainerState::Paused => ComponentState::Paused,
        ContainerState::Created => ComponentState::Missing,
        ContainerState::Exited | ContainerState::Dead => {
            let inspected = stack.engine.inspect_container(&container.name).await?;
            let exit_code = inspected
                .and_then(|it| it.exit.exit_code)
                .unwrap_or_default();
            ComponentState::Exited { exit_code }
        }
    })
}

/// The time since a moment that the engine tells in RFC 3339.
fn elapsed_since(moment: &str) -> Option<Duration> {
    let moment: DateTime<Utc> = moment.parse().ok()?;
    (Utc::now() - moment).to_std().ok()
}
