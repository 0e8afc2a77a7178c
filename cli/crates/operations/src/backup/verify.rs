//! A set proves itself in an instance of its own.

use dm_backup::{OpenBackup, RestoreScope};
use dm_components::{postgres, rabbitmq};
use dm_core::error::Result;

use super::restore::{RestoreClients, RestoreReport, reconcile_after_restore, start_components};
use crate::down::take_down;
use crate::session::{PortUse, Project, Session, StackClients};

/// What a scratch instance is called that a backup is proved in.
const VERIFY_INSTANCE: &str = "backup-proof";

/// Restores a set into an instance of its own, accounts for every event there, and removes
/// the instance.
///
/// # Errors
/// The set can't be restored.
pub async fn verify(session: &Session, opened: &OpenBackup<'_>) -> Result<RestoreReport> {
    let project = session
        .project_for_instance(VERIFY_INSTANCE)?
        .without_schedule();
    let _guard = session.lock(&project, "dm backup verify").await?;
    let engine = session.engine(project.config()).await?;
    // What a killed call has left.
    take_down(session, &project, engine.clone(), true).await?;
    let proved = restore_and_reconcile(session, &project, opened).await;
    // Whatever came of it, and also where it was interrupted.
    take_down(&session.uninterruptible(), &project, engine, true).await?;
    proved
}

async fn restore_and_reconcile(
    session: &Session,
    project: &Project,
    opened: &OpenBackup<'_>,
) -> Result<RestoreReport> {
    let only = [postgres::NAME, rabbitmq::NAME].map(str::to_owned);
    let ports = PortUse::Allocate {
        free: true,
        only: &only,
    };
    start_components(session, project, "verify", ports, &only).await?;
    let desk = StackClients::for_project(
        session,
        session
            .project_for_instance(VERIFY_INSTANCE)?
            .without_schedule(),
    )
    .await?;
    let ways = RestoreClients::open(session, &desk).await?;
    let letters = ways.restore(opened, RestoreScope::Full).await?;
    // The account has the dead letters in hand itself.
    drop(ways);
    reconcile_after_restore(session, &desk, &letters, "the backup was not verified").await
}
