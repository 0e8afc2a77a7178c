//! An instance is taken down.

use std::sync::Arc;

use dm_core::error::Result;
use dm_engine::Engine;
use dm_host::ports::PortAllocator;
use dm_stack::down::{self, DownReport};

use crate::session::{Project, Session};
use crate::stack_run::RunError;

/// Stops and removes the instance, and its volumes where that is asked for. The caller has
/// the instance's lock.
///
/// # Errors
/// A failing engine, or [`RunError`] where something is left.
pub async fn take_down(
    session: &Session,
    project: &Project,
    engine: Engine,
    volumes: bool,
) -> Result<DownReport> {
    let (stack, _) = session.existing_stack(project, engine).await?;
    let stack = Arc::new(stack);
    let (removed, _) = session
        .run_with_progress(
            "down",
            None,
            async |emitter| down::down(&stack, volumes, &emitter, &session.interrupt).await,
            |removed| removed.outcome.is_success(),
        )
        .await?;
    if let Some(error) = RunError::from_outcome(&removed.outcome) {
        return Err(error.into());
    }
    // Its ports stay its own as long as its data does.
    if removed.kept_volumes.is_empty() {
        PortAllocator::new(project.state.clone())
            .release(&project.instance.project, &project.instance.name)?;
    }
    Ok(removed)
}
