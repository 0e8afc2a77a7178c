//! A set brought back into a stack that runs: what is done, and in which order, so that the
//! stack is as before or as after whenever that ends.

use std::collections::BTreeMap;
use std::time::Duration;

use dm_components::database::OPS_SCHEMA;
use tokio_util::sync::CancellationToken;

use super::database::{self, Prepared, Target};
use super::refill::Events;
use super::{BackupError, Broker, Opened, Server, Set, rest, schema, swap};

/// How long a container may take to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a set is brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    /// All of it.
    Whole,
    /// A schema of its database.
    Schema(&'a str),
}

impl<'a> Extent<'a> {
    /// All of a set, or this schema.
    ///
    /// # Errors
    /// [`BackupError::NoSchema`] where the set has none of that name;
    /// [`BackupError::OwnSchema`] for that of `dm` itself.
    pub fn of(set: &Set, schema: Option<&'a str>) -> Result<Self, BackupError> {
        let Some(name) = schema else {
            return Ok(Self::Whole);
        };
        // It has the notes of replays, parked letters and restores of all the others.
        if name == OPS_SCHEMA {
            return Err(BackupError::OwnSchema(set.manifest.id.clone()));
        }
        let known = set.manifest.schemas();
        if known.contains(name) {
            return Ok(Self::Schema(name));
        }
        Err(BackupError::NoSchema {
            id: set.manifest.id.clone(),
            name: name.to_owned(),
            known: known
                .into_iter()
                .filter(|known| *known != OPS_SCHEMA)
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// The ways to the stack.
pub struct Site<'a> {
    /// Its database.
    pub target: Target<'a>,
    /// The containers that use it.
    pub users: &'a [String],
    /// The broker.
    pub broker: Broker<'a>,
    /// The services' tables.
    pub events: Events<'a>,
    /// The directory's container, where there is one.
    pub directory: Option<Server<'a>>,
    /// Ends it while nothing has changed yet.
    pub interrupt: &'a CancellationToken,
    /// Told of each step.
    pub told: &'a (dyn Fn(&str) + Sync),
    /// Told of what is not as in the backup.
    pub warned: &'a (dyn Fn(&str) + Sync),
}

/// What a set's dead letters were, by work queue: the ids of the events, none where a letter
/// has none.
pub type Letters = BTreeMap<String, Vec<Option<String>>>;

/// Brings a set back. The containers that use the database are stopped then. Answers the
/// dead letters that were brought back.
///
/// # Errors
/// Nothing has changed, and what was stopped runs again; [`BackupError::Stopped`] where it
/// does not; [`BackupError::Halfway`] where [`resume`] has to do the rest.
pub async fn restore(
    site: &Site<'_>,
    opened: &Opened<'_>,
    extent: Extent<'_>,
) -> Result<Letters, BackupError> {
    let id = &opened.set.manifest.id;
    (site.told)(&match extent {
        Extent::Whole => format!("restoring the database of {id} beside the one that is served"),
        Extent::Schema(name) => format!("restoring the database of {id} beside, for schema {name}"),
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
                    "the planner knows nothing of the schema yet: {error}"
                ));
            }
            if let Err(error) = database::sweep(&site.target).await {
                (site.warned)(&format!(
                    "the next restore removes what this one leaves: {error}"
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
pub async fn resume(site: &Site<'_>, opened: &Opened<'_>) -> Result<Letters, BackupError> {
    stop(site, &mut Vec::new()).await?;
    others(site, opened).await
}

/// Makes the set's database, and checks all that can fail later.
async fn prepare(
    site: &Site<'_>,
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
    site: &Site<'_>,
    prepared: &Prepared,
    extent: Extent<'_>,
    stopped: &mut Vec<String>,
) -> Result<(), BackupError> {
    (site.told)("stopping what uses the database");
    stop(site, stopped).await?;
    match extent {
        Extent::Whole => {
            (site.told)("putting the database in its place");
            swap::swap(&site.target, prepared).await
        }
        Extent::Schema(name) => {
            (site.told)(&format!("putting schema {name} in its place"));
            schema::replace(&site.target, prepared, name).await
        }
    }
}

/// Stops the containers that use the database, and notes each that ran.
async fn stop(site: &Site<'_>, stopped: &mut Vec<String>) -> Result<(), BackupError> {
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
async fn undo(site: &Site<'_>, stopped: Vec<String>, error: BackupError) -> BackupError {
    // It takes as much of the disk as the one that is served.
    if let Err(left) = database::sweep(&site.target).await {
        (site.warned)(&format!(
            "what was prepared could not be removed, and the next restore does: {left}"
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
        (site.told)("nothing has changed, and what was stopped runs again");
    }
    error
}

/// The broker and the directory, and the end of it.
async fn others(site: &Site<'_>, opened: &Opened<'_>) -> Result<Letters, BackupError> {
    rest::restore(site, opened)
        .await
        .map_err(|source| BackupError::Halfway {
            id: opened.set.manifest.id.clone(),
            source: Box::new(source),
        })
}
