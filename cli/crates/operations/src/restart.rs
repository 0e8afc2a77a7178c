//! Components are stopped and brought up again.

use dm_core::error::Result;

use crate::session::{Project, Session};
use crate::stack_run::{RunPhase, RunResult, StackRun};

/// Stops components, or all where none is named, and brings them up again; their data stays.
/// The caller has the instance's lock.
///
/// # Errors
/// An unknown name, or a failing engine; what fails in a component is in the outcome.
pub async fn restart(session: &Session, project: &Project, names: &[String]) -> Result<RunResult> {
    let engine = session.engine(project.config()).await?;
    StackRun::new("restart", project)
        .with_phase(RunPhase::Stop(names.to_vec()))
        .with_phase(RunPhase::up(project, names, None))
        .execute(session, engine, session.consent(false))
        .await
}
