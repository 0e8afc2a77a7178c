//! Stops components so that the next run starts them again.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_core::error::Result;
use dm_engine::containers::ContainerState;

use super::Stack;
use super::event::NodeState;
use super::executor::EventEmitter;

/// Stops the named components, or all, the ones that depend on others first.
/// Nothing is removed.
///
/// # Errors
/// An unknown name, or a failing engine.
pub async fn stop_components(
    stack: &Stack,
    names: &[String],
    emitter: &EventEmitter,
) -> Result<()> {
    for name in names {
        stack.component(name)?;
    }
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let containers = stack.list_containers().await?;
    for name in stack.graph()?.reversed().topological_order()? {
        let chosen = wanted.is_empty() || wanted.contains(name.as_str());
        let running = containers.iter().find(|container| {
            container.component == name && container.state == ContainerState::Running
        });
        if let (true, Some(container)) = (chosen, running) {
            emitter.emit_state(&name, NodeState::Stopping);
            stack
                .engine
                .stop_container(&container.name, Duration::from_secs(30))
                .await?;
        }
    }
    Ok(())
}
