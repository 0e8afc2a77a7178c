//! Stops components so that the next run starts them again.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_core::error::Result;
use dm_engine::containers::ContainerState;

use super::Stack;
use super::event::NodeState;
use super::executor::EventEmitter;

/// Stops the named components, or all if `names` is empty, dependents first.
/// Nothing is removed.
///
/// # Errors
/// If a name is unknown or an engine request fails.
pub async fn stop_components(
    stack: &Stack,
    names: &[String],
    emitter: &EventEmitter,
) -> Result<()> {
    for name in names {
        stack.component(name)?;
    }
    let selected: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let containers = stack.list_containers().await?;
    for name in stack.graph()?.reversed().topological_order()? {
        let is_selected = selected.is_empty() || selected.contains(name.as_str());
        let running = containers.iter().find(|container| {
            container.component == name && container.state == ContainerState::Running
        });
        if let (true, Some(container)) = (is_selected, running) {
            emitter.emit_state(&name, NodeState::Stopping);
            stack
                .engine
                .stop_container(&container.name, Duration::from_secs(30))
                .await?;
        }
    }
    Ok(())
}
