//! Components are stopped and brought up again.

use dm_core::error::Result;

use crate::run::{Brought, Phase, Run};
use crate::session::{Project, Session};

/// Stops components, or all where none is named, and brings them up again; their data stays.
/// The caller has the instance's lock.
///
/// # Errors
/// An unknown name, or a failing engine; what fails in a component is in the outcome.
pub async fn restart(session: &Session, project: &Project, names: &[String]) -> Result<Brought> {
    let engine = session.engine(project.config()).await?;
    Run::new("restart", project)
        .phase(Phase::Stop(names.to_vec()))
        .phase(Phase::up(project, names, None))
        .execute(session, engine, session.consent(false))
        .await
}
