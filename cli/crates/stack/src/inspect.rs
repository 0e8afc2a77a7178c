//! What there is of an instance, component by component.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dm_components::Component;
use dm_core::error::Result;
use dm_engine::containers::{Container, State};
use futures_util::future::join_all;

use super::Stack;
use super::event::NodeKind;
use super::status::{ComponentState, StatusRow};

/// How long a component may take to answer before it is called unhealthy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The rows of `dm status`: every component of the stack, and whatever else of
/// the instance is there. Components are asked by their own protocols, at once.
/// Their memory is asked for where `memory` is set: that can take a second.
///
/// # Errors
/// A failing engine.
pub async fn rows(stack: &Stack, memory: bool) -> Result<Vec<StatusRow>> {
    let containers = stack.containers().await?;
    rows_of(stack, &containers, &BTreeSet::new(), memory).await
}

/// As [`rows`], where it is known which containers there are, and which components have just
/// answered that they are `ready`.
///
/// # Errors
/// A failing engine.
pub async fn rows_of(
    stack: &Stack,
    containers: &[Container],
    ready: &BTreeSet<String>,
    memory: bool,
) -> Result<Vec<StatusRow>> {
    let known = stack.components.iter().map(|component| {
        let name = component.name();
        let container = containers.iter().find(|it| it.component == name);
        let is_ready = ready.contains(name);
        row(stack, component.as_ref(), container, is_ready, memory)
    });
    let mut rows: Vec<StatusRow> = join_all(known).await.into_iter().collect::<Result<_>>()?;
    for container in containers {
        if !rows.iter().any(|row| row.component == container.component) {
            rows.push(StatusRow {
                component: container.component.clone(),
                kind: NodeKind::Service,
                state: state_of(stack, container).await?,
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

async fn row(
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
    if container.state != State::Running {
        row.state = state_of(stack, container).await?;
        return Ok(row);
    }
    let probe = async {
        if is_ready {
            return Ok(Ok(()));
        }
        tokio::time::timeout(PATIENCE, component.probe(&stack.ports)).await
    };
    let used = async {
        if memory {
            stack.engine.memory(&container.name).await.ok().flatten()
        } else {
            None
        }
    };
    let (inspected, answer, used) =
        tokio::join!(stack.engine.inspect(&container.name), probe, used);
    let started = inspected?.and_then(|inspected| inspected.started_at);
    row.since = started.as_deref().and_then(since);
    row.memory = used;
    let wait = component.wait_timeout().unwrap_or(stack.wait);
    match answer {
        Ok(Ok(())) => {
            row.detail = component.complaint();
            row.state = match row.detail {
                Some(_) => ComponentState::Unhealthy,
                None => ComponentState::Ready,
            };
        }
        Ok(Err(answer)) => {
            row.state = not_ready(row.since, wait);
            row.detail = Some(answer.to_string());
        }
        Err(_) => {
            row.state = not_ready(row.since, wait);
            row.detail = Some(format!("no answer within {} s", PATIENCE.as_secs()));
        }
    }
    Ok(row)
}

/// A container that doesn't answer may yet, as long as its time isn't up.
fn not_ready(since: Option<Duration>, wait: Duration) -> ComponentState {
    if since.is_some_and(|since| since > wait) {
        ComponentState::Unhealthy
    } else {
        ComponentState::Starting
    }
}

async fn state_of(stack: &Stack, container: &Container) -> Result<ComponentState> {
    Ok(match container.state {
        State::Running | State::Restarting => ComponentState::Starting,
        State::Paused => ComponentState::Paused,
        State::Created => ComponentState::Missing,
        State::Exited | State::Dead => {
            let inspected = stack.engine.inspect(&container.name).await?;
            let exit_code = inspected
                .and_then(|it| it.ended.exit_code)
                .unwrap_or_default();
            ComponentState::Exited { exit_code }
        }
    })
}

/// The time since a moment that the engine tells in RFC 3339.
fn since(moment: &str) -> Option<Duration> {
    let moment: DateTime<Utc> = moment.parse().ok()?;
    (Utc::now() - moment).to_std().ok()
}
