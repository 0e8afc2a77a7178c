//! A set brought back into a stack that runs: what is done, and in which order, so that the
//! stack is as before or as after whenever that ends.

use std::time::Duration;

use super::broker::Letters;
use super::context::RestoreContext;
use super::database::{self, Prepared};
use super::extent::Extent;
use super::{BackupError, Opened, rest, schema, swap};

/// How long a container may take to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Brings a set back. The containers that use the database are stopped then. Answers the
/// dead letters that were brought back.
///
/// # Errors
/// Nothing has changed, and what was stopped runs again; [`BackupError::Stopped`] where it
/// does not; [`BackupError::Halfway`] where [`resume`] has to do the rest.
pub async fn restore(
    site: &RestoreContext<'_>,
    opened: &Opened<'_>,
    extent: Extent<'_>,
) -> Result<Letters, BackupError> {
    let id = &opened.set.manifest.id;
    (site.told)(&match extent {
        Extent::Whole => format!("restoring {id} to a staged database"),
        Extent::Schema(name) => format!("restoring {id} to a staged database, for schema {name}"),
    });
    let prepared = tokio::select! {
        prepared = prepare(site, opened, extent) => prepared,
        () = site.interrupt.cancelled() => Err(BackupError::Interrupted("nothing has changed")),
    };
    let mut stopped = Vec::new();
    let placed = match prepared {
        Ok(prepared) => {
            prepared.notes.iter().for_each(|note| (site.told)(note));
            let placed = place(site, &prepared, extent, &mut stopped).await;
            placed.map(|()| prepared)
        }
        Err(error) => Err(error),
    };
    let prepared = match placed {
        Ok(prepared) => prepared,
        // What is in its place is not known: nothing may be removed.
        Err(error @ BackupError::Unknown(_)) => return Err(error),
        Err(error) => return Err(undo(site, stopped, error).await),
    };
    for warning in &prepared.warnings {
        (site.warned)(warning);
    }
    match extent {
        Extent::Whole => others(site, opened).await,
        Extent::Schema(_) => {
            // It is restored: what fails now takes nothing of that back.
            if let Err(error) = schema::analyze(&site.target).await {
                (site.warned)(&format!(
                    "could not collect statistics of the restored schema: {error}"
                ));
            }
            if let Err(error) = database::sweep(&site.target).await {
                (site.warned)(&format!(
                    "could not remove the staged database, and the next restore removes it: {error}"
                ));
            }
            Ok(Letters::new())
        }
    }
}

/// Does the rest of a restore that has brought the database back. Answers the dead letters
/// that were brought back.
///
/// # Errors
/// The broker or the directory fails: it can be resumed again.
pub async fn resume(
    site: &RestoreContext<'_>,
    opened: &Opened<'_>,
) -> Result<Letters, BackupError> {
    stop(site, &mut Vec::new()).await?;
    others(site, opened).await
}

/// Makes the set's database, and checks all that can fail later.
async fn prepare(
    site: &RestoreContext<'_>,
    opened: &Opened<'_>,
    extent: Extent<'_>,
) -> Result<Prepared, BackupError> {
    match extent {
        Extent::Whole => {
            site.broker.check().await?;
            if let Some(directory) = site.directory {
                // One that does not run can't be given its entries.
                directory.run(&["true"]).await?;
            }
        }
        Extent::Schema(name) => schema::check(&site.target, name).await?,
    }
    database::prepare(&site.target, opened, extent).await
}

async fn place(
    site: &RestoreContext<'_>,
    prepared: &Prepared,
    extent: Extent<'_>,
    stopped: &mut Vec<String>,
) -> Result<(), BackupError> {
    (site.told)("stopping the containers that use the database");
    stop(site, stopped).await?;
    match extent {
        Extent::Whole => {
            (site.told)("swapping the databases");
            swap::swap(&site.target, prepared).await
        }
        Extent::Schema(name) => {
            (site.told)(&format!("replacing schema {name}"));
            schema::replace(&site.target, prepared, name).await
        }
    }
}

/// Stops the containers that use the database, and notes each that ran.
async fn stop(site: &RestoreContext<'_>, stopped: &mut Vec<String>) -> Result<(), BackupError> {
    let engine = site.target.postgres.engine;
    for container in site.users {
        if let Some(found) = engine.inspect(container).await? {
            if found.running {
                stopped.push(container.clone());
            }
            engine.stop(container, PATIENCE).await?;
        }
    }
    Ok(())
}

/// Leaves the stack as it was. Answers the error to tell.
async fn undo(site: &RestoreContext<'_>, stopped: Vec<String>, error: BackupError) -> BackupError {
    // It takes as much of the disk as the one that is served.
    if let Err(left) = database::sweep(&site.target).await {
        (site.warned)(&format!(
            "could not remove the staged database, and the next restore removes it: {left}"
        ));
    }
    let engine = site.target.postgres.engine;
    let mut left = Vec::new();
    for container in &stopped {
        if let Err(error) = engine.start(container).await {
            tracing::debug!(%error, container, "could not start a container again");
            left.push(container.clone());
        }
    }
    if !left.is_empty() {
        return BackupError::Stopped {
            containers: left,
            source: Box::new(error),
        };
    }
    if !stopped.is_empty() {
        (site.told)("nothing has changed, and the stopped containers run again");
    }
    error
}

/// The broker and the directory, and the end of it.
async fn others(site: &RestoreContext<'_>, opened: &Opened<'_>) -> Result<Letters, BackupError> {
    rest::restore(site, opened)
        .await
        .map_err(|source| BackupError::Halfway {
            id: opened.set.manifest.id.clone(),
            source: Box::new(source),
        })
}
