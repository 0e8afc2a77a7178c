//! Compiles the services before anything that runs is touched.

use std::sync::Arc;

use dm_core::error::Result;
use dm_images::SERVICES;
use tokio_util::sync::CancellationToken;

use super::Stack;
use super::executor::{self, Emitter, Outcome};
use super::up::image_task;

/// Compiles the services and makes an image of each whose binary is new. What runs
/// keeps running, whatever comes of it.
///
/// # Errors
/// Only what stops the run before it begins; what the compiler found is in the
/// outcome.
pub async fn services(
    stack: &Arc<Stack>,
    emitter: &Emitter,
    interrupt: &CancellationToken,
) -> Result<Outcome> {
    let task = image_task(stack, SERVICES, emitter, || {});
    emitter.announce(&stack.instance.name, vec![task.node.clone()]);
    Ok(executor::run(vec![task], emitter, interrupt).await?)
}
