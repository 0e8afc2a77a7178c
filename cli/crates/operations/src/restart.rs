//! Stops components and brings them up again.

use dm_core::error::Result;

use crate::session::{Project, Session, require_containers};
use crate::stack_run::{RunPhase, RunResult, StackRun};

/// Stops components, or all if `names` is empty, and brings them up again. Their data stays.
/// The caller holds the instance lock.
///
/// # Errors
/// If the instance has no containers, a name is unknown or the engine fails. Failures of
/// components are in the outcome.
pub async fn restart(session: &Session, project: &Project, names: &[String]) -> Result<RunResult> {
    let engine = session.engine(project.config()).await?;
    let containers = engine
        .list_containers(&project.instance.label_filter())
        .await?;
    require_containers(project, &containers)?;
    StackRun::new("restart", project)
        .with_phase(RunPhase::Stop(names.to_vec()))
        .with_phase(RunPhase::up(project, names, None))
        .execute(session, engine, session.consent(false))
        .await
}
