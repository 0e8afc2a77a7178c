//! Collects the status of an instance, component by component.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_components::Component;
use dm_core::error::{Result, suggestion_for_instance};
use dm_core::instance;
use dm_engine::containers::{Container, ContainerState};
use futures_util::future::join_all;

use super::Stack;
use super::event::NodeKind;
use super::status::{ComponentState, StatusRow};

/// How long a component may take to respond to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the rows of `dm status`: every component of the stack, and all other
/// containers of the instance. Components are probed concurrently, over their own
/// protocols. Memory usage is queried if `memory` is set, which can take a second.
///
/// # Errors
/// If an engine request fails.
pub async fn collect_status(stack: &Stack, memory: bool) -> Result<Vec<StatusRow>> {
    let containers = stack.list_containers().await?;
    collect_status_from(stack, &containers, &BTreeSet::new(), memory).await
}

/// Like [`collect_status`], with known containers. Components in `ready` have just responded
/// and are not probed.
///
/// # Errors
/// If an engine request fails.
pub async fn collect_status_from(
    stack: &Stack,
    containers: &[Container],
    ready: &BTreeSet<String>,
    memory: bool,
) -> Result<Vec<StatusRow>> {
    let known = stack.components.iter().map(|component| {
        let name = component.name();
        let container = containers
            .iter()
            .find(|container| container.component == name);
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
                detail: Some(leftover_detail(&stack.instance.name)),
            });
        }
    }
    Ok(rows)
}

/// Returns the text that `dm status` shows for a leftover container. It names the command that
/// removes the container.
fn leftover_detail(instance: &str) -> String {
    const DETAIL: &str = "no longer part of the stack; remove it: dm up";
    match instance {
        instance::DEFAULT_INSTANCE => DETAIL.to_owned(),
        name => suggestion_for_instance(DETAIL, name),
    }
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
    let memory_usage = async {
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
    let inspection = stack.engine.inspect_container(&container.name);
    let (inspected, answer, memory_usage) = tokio::join!(inspection, probe, memory_usage);
    let started_at = inspected?.and_then(|inspected| inspected.started_at);
    row.since = started_at.as_deref().and_then(elapsed_since);
    row.memory = memory_usage;
    let timeout = component.wait_timeout().unwrap_or(stack.wait_timeout);
    match answer {
        Ok(Ok(())) => {
            row.detail = component.warning();
            row.state = match row.detail {
                Some(_) => ComponentState::Unhealthy,
                None => ComponentState::Ready,
            };
        }
        Ok(Err(answer)) => {
            row.state = unready_state(row.since, timeout);
            row.detail = Some(answer.to_string());
        }
        Err(_) => {
            row.state = unready_state(row.since, timeout);
            row.detail = Some(format!("no answer within {} s", PROBE_TIMEOUT.as_secs()));
        }
    }
    Ok(row)
}

/// Returns the state of a container that is not ready: it counts as starting until the timeout.
fn unready_state(since: Option<Duration>, timeout: Duration) -> ComponentState {
    if since.is_some_and(|since| since > timeout) {
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
                .and_then(|container| container.exit.exit_code)
                .unwrap_or_default();
            ComponentState::Exited { exit_code }
        }
    })
}

/// Returns the time since a moment that the engine reports in RFC 3339.
fn elapsed_since(moment: &str) -> Option<Duration> {
    let moment: DateTime<Utc> = moment.parse().ok()?;
    (Utc::now() - moment).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftover_detail_names_the_instance() {
        assert_eq!(
            leftover_detail(instance::DEFAULT_INSTANCE),
            "no longer part of the stack; remove it: dm up"
        );
        assert_eq!(
            leftover_detail("review"),
            "no longer part of the stack; remove it: dm --instance review up"
        );
    }
}
