//! Compiles the services before any running container is changed.

use std::sync::Arc;

use dm_core::error::Result;
use dm_images::SERVICES_PROGRESS_NAME;
use tokio_util::sync::CancellationToken;

use super::Stack;
use super::executor::{self, EventEmitter, RunOutcome};
use super::up::image_task;

/// Compiles the services and builds an image of each one whose binary is new. Running
/// containers are not changed.
///
/// # Errors
/// If the run cannot start. The compiler's errors are in the outcome.
pub async fn build_services(
    stack: &Arc<Stack>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let task = image_task(stack, SERVICES_PROGRESS_NAME, emitter, || {});
    emitter.emit_started(&stack.instance.name, vec![task.node.clone()]);
    Ok(executor::run_tasks(vec![task], emitter, interrupt).await?)
}
