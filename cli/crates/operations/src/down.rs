//! Takes an instance down.

use std::sync::Arc;

use dm_core::error::Result;
use dm_engine::Engine;
use dm_host::ports::PortAllocator;
use dm_stack::down::{self, DownReport};

use crate::session::{Project, Session};
use crate::stack_run::RunError;

/// Stops and removes the instance, and its volumes if `volumes` is set. The caller holds the
/// instance lock.
///
/// # Errors
/// If the engine fails. Returns [`RunError`] if a part could not be removed.
pub async fn take_down(
    session: &Session,
    project: &Project,
    engine: Engine,
    volumes: bool,
) -> Result<DownReport> {
    let (stack, _) = session.existing_stack(project, engine).await?;
    let stack = Arc::new(stack);
    let (report, _) = session
        .run_with_progress(
            "down",
            None,
            async |emitter| down::down(&stack, volumes, &emitter, &session.interrupt).await,
            |report| report.outcome.is_success(),
        )
        .await?;
    if let Some(error) = RunError::from_outcome(&report.outcome) {
        return Err(error.into());
    }
    // The ports stay allocated as long as the data exists.
    if report.kept_volumes.is_empty() {
        PortAllocator::new(project.state.clone())
            .release(&project.instance.project, &project.instance.name)?;
    }
    Ok(report)
}
