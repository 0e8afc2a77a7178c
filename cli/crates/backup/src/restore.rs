//! The restore of a backup into a running stack. The order of the steps ensures that the stack is
//! in the state before or after the restore whenever it is killed.

use std::time::Duration;

use super::broker::DeadLetterIds;
use super::context::RestoreContext;
use super::restore_scope::RestoreScope;
use super::staged_database::{self, StagedDatabase};
use super::{BackupError, OpenBackup, database_swap, post_swap, schema_restore};

/// How long a container may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Restores a backup. Afterwards, the containers that use the database are stopped. Returns the
/// restored dead letters.
///
/// # Errors
/// Returns [`BackupError::RestoreIncomplete`] if [`resume`] has to complete the restore,
/// [`BackupError::SwapUnconfirmed`] if it is unknown which database is in use, and
/// [`BackupError::ContainersStopped`] if nothing has changed but containers could not be started
/// again. After any other error, nothing has changed and the containers run again.
pub async fn restore(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
    scope: RestoreScope<'_>,
) -> Result<DeadLetterIds, BackupError> {
    let id = &opened.backup.manifest.id;
    (context.report)(&match scope {
        RestoreScope::Full => format!("restoring {id} to a staged database"),
        RestoreScope::Schema(name) => {
            format!("restoring {id} to a staged database, for schema {name}")
        }
    });
    let staged = tokio::select! {
        staged = prepare(context, opened, scope) => staged,
        () = context.interrupt.cancelled() => Err(BackupError::Interrupted("nothing has changed")),
    };
    let mut stopped = Vec::new();
    let swapped = match staged {
        Ok(staged) => {
            staged.notes.iter().for_each(|note| (context.report)(note));
            let swapped = swap_in(context, &staged, scope, &mut stopped).await;
            swapped.map(|()| staged)
        }
        Err(error) => Err(error),
    };
    let staged = match swapped {
        Ok(staged) => staged,
        // It is unknown which database is in use: nothing may be removed.
        Err(error @ BackupError::SwapUnconfirmed(_)) => return Err(error),
        Err(error) => return Err(roll_back(context, stopped, error).await),
    };
    for warning in &staged.warnings {
        (context.warn)(warning);
    }
    match scope {
        RestoreScope::Full => restore_remaining(context, opened).await,
        RestoreScope::Schema(_) => {
            // The schema is restored: errors from here on do not change that.
            if let Err(error) = schema_restore::analyze(&context.target).await {
                (context.warn)(&format!(
                    "could not collect statistics of the restored schema: {error}"
                ));
            }
            if let Err(error) = staged_database::drop_leftover_databases(&context.target).await {
                (context.warn)(&format!(
                    "could not remove the staged database, and the next restore removes it: {error}"
                ));
            }
            Ok(DeadLetterIds::new())
        }
    }
}

/// Completes a restore whose database has been swapped. Returns the restored dead letters.
///
/// # Errors
/// Returns [`BackupError::RestoreIncomplete`] if the broker or the LDAP directory cannot be
/// restored. The restore can be resumed again.
pub async fn resume(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
) -> Result<DeadLetterIds, BackupError> {
    stop_dependents(context, &mut Vec::new()).await?;
    restore_remaining(context, opened).await
}

/// Stages the database of the backup, and checks everything that can fail later.
async fn prepare(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
    scope: RestoreScope<'_>,
) -> Result<StagedDatabase, BackupError> {
    match scope {
        RestoreScope::Full => {
            context.broker.check_connection().await?;
            if let Some(directory) = context.directory {
                // Entries can only be restored to a running container.
                directory.run(&["true"]).await?;
            }
        }
        RestoreScope::Schema(name) => {
            schema_restore::check_dependents(&context.target, name).await?
        }
    }
    staged_database::stage_database(&context.target, opened, scope).await
}

/// Stops the dependent containers and swaps the databases or replaces the schema.
async fn swap_in(
    context: &RestoreContext<'_>,
    staged: &StagedDatabase,
    scope: RestoreScope<'_>,
    stopped: &mut Vec<String>,
) -> Result<(), BackupError> {
    (context.report)("stopping the containers that use the database");
    stop_dependents(context, stopped).await?;
    match scope {
        RestoreScope::Full => {
            (context.report)("swapping the databases");
            database_swap::swap_databases(&context.target, staged).await
        }
        RestoreScope::Schema(name) => {
            (context.report)(&format!("replacing schema {name}"));
            schema_restore::replace_schema(&context.target, staged, name).await
        }
    }
}

/// Stops the containers that use the database, and adds those that were running to `stopped`.
async fn stop_dependents(
    context: &RestoreContext<'_>,
    stopped: &mut Vec<String>,
) -> Result<(), BackupError> {
    let engine = context.target.container.engine;
    for container in context.dependent_containers {
        if let Some(details) = engine.inspect_container(container).await? {
            if details.running {
                stopped.push(container.clone());
            }
            engine.stop_container(container, STOP_TIMEOUT).await?;
        }
    }
    Ok(())
}

/// Restores the state before the restore. Returns the error to report.
async fn roll_back(
    context: &RestoreContext<'_>,
    stopped: Vec<String>,
    error: BackupError,
) -> BackupError {
    // The staged database takes as much disk space as the one in use.
    if let Err(error) = staged_database::drop_leftover_databases(&context.target).await {
        (context.warn)(&format!(
            "could not remove the staged database, and the next restore removes it: {error}"
        ));
    }
    let engine = context.target.container.engine;
    let mut still_stopped = Vec::new();
    for container in &stopped {
        if let Err(error) = engine.start_container(container).await {
            tracing::debug!(%error, container, "could not start a container again");
            still_stopped.push(container.clone());
        }
    }
    if !still_stopped.is_empty() {
        return BackupError::ContainersStopped {
            containers: still_stopped,
            source: Box::new(error),
        };
    }
    if !stopped.is_empty() {
        (context.report)("nothing has changed, and the stopped containers run again");
    }
    error
}

/// Restores the broker and the LDAP directory, and finishes the restore.
async fn restore_remaining(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
) -> Result<DeadLetterIds, BackupError> {
    post_swap::finish_after_swap(context, opened)
        .await
        .map_err(|source| BackupError::RestoreIncomplete {
            id: opened.backup.manifest.id.clone(),
            source: Box::new(source),
        })
}
