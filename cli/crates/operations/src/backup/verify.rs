//! Verifies a backup by restoring it into a scratch instance.

use dm_backup::{OpenBackup, RestoreScope};
use dm_components::{postgres, rabbitmq};
use dm_core::error::Result;

use super::restore::{RestoreClients, RestoreReport, reconcile_after_restore, start_components};
use crate::down::take_down;
use crate::session::{PortUse, Project, Session, StackClients};

/// The name of the scratch instance in which backups are verified.
const VERIFY_INSTANCE: &str = "backup-verify";

/// Restores a backup into a scratch instance, reconciles all events there, and removes the
/// instance.
///
/// # Errors
/// If the backup cannot be restored.
pub async fn verify(session: &Session, opened: &OpenBackup<'_>) -> Result<RestoreReport> {
    let project = session
        .project_for_instance(VERIFY_INSTANCE)?
        .without_schedule();
    let _guard = session.lock(&project, "dm backup verify").await?;
    let engine = session.engine(project.config()).await?;
    // A killed call may have left an instance.
    take_down(session, &project, engine.clone(), true).await?;
    let report = restore_and_reconcile(session, &project, opened).await;
    // Also after an error or an interrupt.
    take_down(&session.uninterruptible(), &project, engine, true).await?;
    report
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
    let clients = StackClients::for_project(
        session,
        session
            .project_for_instance(VERIFY_INSTANCE)?
            .without_schedule(),
    )
    .await?;
    let restore_clients = RestoreClients::open(session, &clients).await?;
    let dead_letters = restore_clients.restore(opened, RestoreScope::Full).await?;
    // The reconciliation acquires the dead-letter lock itself.
    drop(restore_clients);
    reconcile_after_restore(
        session,
        &clients,
        &dead_letters,
        "the backup was not verified",
    )
    .await
}
