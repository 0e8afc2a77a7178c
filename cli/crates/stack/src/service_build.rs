//! Compiles the services before anything that runs is touched.

use std::sync::Arc;

use dm_core::error::Result;
use dm_images::SERVICES_PROGRESS_NAME;
use tokio_util::sync::CancellationToken;

use super::Stack;
use super::executor::{self, EventEmitter, RunOutcome};
use super::up::image_task;

/// Compiles the services and makes an image of each whose binary is new. What runs
/// keeps running, whatever comes of it.
///
/// # Errors
/// Only what stops the run before it begins; what the compiler found is in the
/// outcome.
pub async fn build_services(
    stack: &Arc<Stack>,
    emitter: &EventEmitter,
    interrupt: &CancellationToken,
) -> Result<RunOutcome> {
    let task = image_task(stack, SERVICES_PROGRESS_NAME, emitter, || {});
    emitter.emit_started(&stack.instance.name, vec![task.node.clone()]);
    Ok(executor::run_tasks(vec![task], emitter, interrupt).await?)
}
