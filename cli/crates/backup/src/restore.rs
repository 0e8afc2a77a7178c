//! A set brought back into a stack that runs: what is done, and in which order, so that the
//! stack is as before or as after whenever that ends.

use std::time::Duration;

use super::broker::DeadLetterIds;
use super::context::RestoreContext;
use super::restore_scope::RestoreScope;
use super::staged_database::{self, StagedDatabase};
use super::{BackupError, OpenBackup, database_swap, post_swap, schema_restore};

/// How long a container may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Brings a set back. The containers that use the database are stopped then. Answers the
/// dead letters that were brought back.
///
/// # Errors
/// Nothing has changed, and what was stopped runs again; [`BackupError::Stopped`] where it
/// does not; [`BackupError::Halfway`] where [`resume`] has to do the rest.
pub async fn restore(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
    extent: RestoreScope<'_>,
) -> Result<DeadLetterIds, BackupError> {
    let id = &opened.backup.manifest.id;
    (context.report)(&match extent {
        RestoreScope::Full => format!("restoring {id} to a staged database"),
        RestoreScope::Schema(name) => {
            format!("restoring {id} to a staged database, for schema {name}")
        }
    });
    let prepared = tokio::select! {
        prepared = prepare(context, opened, extent) => prepared,
        () = context.interrupt.cancelled() => Err(BackupError::Interrupted("nothing has changed")),
    };
    let mut stopped = Vec::new();
    let placed = match prepared {
        Ok(prepared) => {
            prepared
                .notes
                .iter()
                .for_each(|note| (context.report)(note));
            let placed = swap_in(context, &prepared, extent, &mut stopped).await;
            placed.map(|()| prepared)
        }
        Err(error) => Err(error),
    };
    let prepared = match placed {
        Ok(prepared) => prepared,
        // What is in its place is not known: nothing may be removed.
        Err(error @ BackupError::SwapUnconfirmed(_)) => return Err(error),
        Err(error) => return Err(roll_back(context, stopped, error).await),
    };
    for warning in &prepared.warnings {
        (context.warn)(warning);
    }
    match extent {
        RestoreScope::Full => restore_remaining(context, opened).await,
        RestoreScope::Schema(_) => {
            // It is restored: what fails now takes nothing of that back.
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

/// Does the rest of a restore that has brought the database back. Answers the dead letters
/// that were brought back.
///
/// # Errors
/// The broker or the directory fails: it can be resumed again.
pub async fn resume(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
) -> Result<DeadLetterIds, BackupError> {
    stop_dependents(context, &mut Vec::new()).await?;
    restore_remaining(context, opened).await
}

/// Makes the set's database, and checks all that can fail later.
async fn prepare(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
    extent: RestoreScope<'_>,
) -> Result<StagedDatabase, BackupError> {
    match extent {
        RestoreScope::Full => {
            context.broker.check_connection().await?;
            if let Some(directory) = context.directory {
                // One that does not run can't be given its entries.
                directory.run(&["true"]).await?;
            }
        }
        RestoreScope::Schema(name) => {
            schema_restore::check_dependents(&context.target, name).await?
        }
    }
    staged_database::stage_database(&context.target, opened, extent).await
}

async fn swap_in(
    context: &RestoreContext<'_>,
    prepared: &StagedDatabase,
    extent: RestoreScope<'_>,
    stopped: &mut Vec<String>,
) -> Result<(), BackupError> {
    (context.report)("stopping the containers that use the database");
    stop_dependents(context, stopped).await?;
    match extent {
        RestoreScope::Full => {
            (context.report)("swapping the databases");
            database_swap::swap_databases(&context.target, prepared).await
        }
        RestoreScope::Schema(name) => {
            (context.report)(&format!("replacing schema {name}"));
            schema_restore::replace_schema(&context.target, prepared, name).await
        }
    }
}

/// Stops the containers that use the database, and notes each that ran.
async fn stop_dependents(
    context: &RestoreContext<'_>,
    stopped: &mut Vec<String>,
) -> Result<(), BackupError> {
    let engine = context.target.container.engine;
    for container in context.dependent_containers {
        if let Some(found) = engine.inspect_container(container).await? {
            if found.running {
                stopped.push(container.clone());
            }
            engine.stop_container(container, STOP_TIMEOUT).await?;
        }
    }
    Ok(())
}

/// Leaves the stack as it was. Answers the error to tell.
async fn roll_back(
    context: &RestoreContext<'_>,
    stopped: Vec<String>,
    error: BackupError,
) -> BackupError {
    // It takes as much of the disk as the one that is served.
    if let Err(left) = staged_database::drop_leftover_databases(&context.target).await {
        (context.warn)(&format!(
            "could not remove the staged database, and the next restore removes it: {left}"
        ));
    }
    let engine = context.target.container.engine;
    let mut left = Vec::new();
    for container in &stopped {
        if let Err(error) = engine.start_container(container).await {
            tracing::debug!(%error, container, "could not start a container again");
            left.push(container.clone());
        }
    }
    if !left.is_empty() {
        return BackupError::ContainersStopped {
            containers: left,
            source: Box::new(error),
        };
    }
    if !stopped.is_empty() {
        (context.report)("nothing has changed, and the stopped containers run again");
    }
    error
}

/// The broker and the directory, and the end of it.
async fn restore_remaining(
    context: &RestoreContext<'_>,
    opened: &OpenBackup<'_>,
) -> Result<DeadLetterIds, BackupError> {
    post_swap::restore_broker_and_directory(context, opened)
        .await
        .map_err(|source| BackupError::RestoreIncomplete {
            id: opened.backup.manifest.id.clone(),
            source: Box::new(source),
        })
}
