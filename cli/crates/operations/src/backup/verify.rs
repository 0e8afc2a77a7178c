//! Verifies a backup by restoring it into a scratch instance.

use dm_backup::{BackupError, BackupStore, OpenBackup, RestoreScope};
use dm_components::{postgres, rabbitmq};
use dm_core::error::Result;

use super::restore::{RestoreClients, RestoreReport, reconcile_after_restore, start_components};
use crate::down::take_down;
use crate::session::{PortUse, Project, Session, StackClients};

/// The name of the scratch instance in which backups are verified.
const VERIFY_INSTANCE: &str = "backup-verify";

/// Restores a backup of a store into a scratch instance, reconciles all events there, and removes
/// the instance.
///
/// # Errors
/// If the backup cannot be restored. No error suggests a command for an instance.
pub async fn verify(
    session: &Session,
    store: &BackupStore,
    opened: &OpenBackup<'_>,
) -> Result<RestoreReport> {
    let session = session.for_scratch_instance(VERIFY_INSTANCE);
    let complete_error = |error| session.complete_error(error);
    let report = verify_in_scratch_instance(&session, store, opened)
        .await
        .map_err(complete_error)?;
    Ok(RestoreReport {
        is_consistent: report.is_consistent.map_err(complete_error),
        ..report
    })
}

async fn verify_in_scratch_instance(
    session: &Session,
    store: &BackupStore,
    opened: &OpenBackup<'_>,
) -> Result<RestoreReport> {
    let project = session.project()?.without_schedule();
    let _guard = session.lock(&project, "dm backup verify").await?;
    let engine = session.engine(project.config()).await?;
    // A killed call may have left an instance.
    take_down(session, &project, engine.clone(), true).await?;
    let report = restore_and_reconcile(session, &project, store, opened).await;
    // Also after an error or an interrupt.
    take_down(&session.uninterruptible(), &project, engine, true).await?;
    report
}

async fn restore_and_reconcile(
    session: &Session,
    project: &Project,
    store: &BackupStore,
    opened: &OpenBackup<'_>,
) -> Result<RestoreReport> {
    let only = [postgres::NAME, rabbitmq::NAME].map(str::to_owned);
    let ports = PortUse::Allocate {
        free: true,
        only: &only,
    };
    start_components(session, project, "verify", ports, &only).await?;
    let clients = StackClients::for_project(session, session.project()?.without_schedule()).await?;
    let restore_clients = RestoreClients::open(session, &clients).await?;
    let dead_letters = restore_clients
        .restore(opened, RestoreScope::Full)
        .await
        .map_err(|error| store.complete_error(cause_in_scratch_instance(error)))?;
    // The reconciliation acquires the dead-letter lock itself.
    drop(restore_clients);
    reconcile_after_restore(
        session,
        &clients,
        &dead_letters,
        BackupError::Interrupted("the backup was not verified"),
    )
    .await
}

/// Returns the cause of an error that describes in which state a restore has left its stack: the
/// scratch instance is removed.
fn cause_in_scratch_instance(error: BackupError) -> BackupError {
    match error {
        BackupError::RestoreIncomplete { source, .. }
        | BackupError::ContainersStopped { source, .. } => *source,
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use dm_core::error::Error;

    use super::*;
    use crate::stack_run::RunError;
    use crate::test_support::{self, ScriptedFrontend};

    fn incomplete_restore(source: BackupError) -> BackupError {
        BackupError::RestoreIncomplete {
            id: "20261126T100000000Z".to_owned(),
            source: Box::new(source),
        }
    }

    #[test]
    fn error_of_the_scratch_instance_suggests_no_command_for_an_instance() {
        let directory = tempfile::tempdir().unwrap();
        let session = test_support::session(ScriptedFrontend::with_answer(None), directory.path());
        let scratch = session.for_scratch_instance(VERIFY_INSTANCE);
        let suggestions = |error: Error| {
            // As the command reports it.
            let error = session.complete_error(scratch.complete_error(error));
            error.suggestions()
        };
        let with_dir_option =
            |error: BackupError| error.with_dir_option(Some("/mnt/backups".into()));
        for error in [
            Error::from(RunError::Interrupted),
            Error::from(incomplete_restore(BackupError::QueuesNotEmpty)),
            Error::from(with_dir_option(BackupError::QueuesNotEmpty)),
            Error::from(BackupError::SwapUnconfirmed(Box::new(
                BackupError::QueuesNotEmpty,
            ))),
            Error::from(BackupError::UnfinishedRestore("20261126T10".to_owned())),
        ] {
            let text = format!("{error:?}");
            assert_eq!(suggestions(error), Vec::<String>::new(), "{text}");
        }
        let extensions = BackupError::MissingExtensions(vec!["postgis".to_owned()]);
        assert_eq!(
            suggestions(extensions.into()),
            ["set postgres.image in dm.toml to an image that has the extensions"]
        );
    }

    #[test]
    fn error_does_not_report_the_state_of_the_removed_stack() {
        let mismatch = BackupError::RowCountMismatch(vec!["orders: 1 instead of 2".to_owned()]);
        let error = cause_in_scratch_instance(incomplete_restore(mismatch));
        assert_eq!(
            error.to_string(),
            "the restored tables have other row counts than the backup"
        );
    }
}
