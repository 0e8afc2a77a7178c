//! A set brought back into a stack that runs: what is done, and in which order, so that the
//! stack is as before or as after whenever that ends.

use std::time::Duration;

use lapin::Connection;
use tokio_util::sync::CancellationToken;

use super::database::{self, Prepared, Target};
use super::{BackupError, Opened, Server, Set, rest};
use crate::components::rabbitmq::management::Management;

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
    /// [`BackupError::NoSchema`] where the set has none of that name.
    pub fn of(set: &Set, schema: Option<&'a str>) -> Result<Self, BackupError> {
        let Some(name) = schema else {
            return Ok(Self::Whole);
        };
        let known = set.manifest.schemas();
        if known.contains(name) {
            return Ok(Self::Schema(name));
        }
        Err(BackupError::NoSchema {
            id: set.manifest.id.clone(),
            name: name.to_owned(),
            known: known.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// The ways to the stack.
pub struct Site<'a> {
    /// Its database.
    pub target: Target<'a>,
    /// The containers of whoever uses that.
    pub users: &'a [String],
    /// The broker. Its turn at the dead letters must be had.
    pub broker: &'a Connection,
    /// The broker's interface.
    pub management: &'a Management,
    /// The directory's container, where there is one.
    pub directory: Option<Server<'a>>,
    /// Ends it while nothing has changed yet.
    pub interrupt: &'a CancellationToken,
    /// Told of what is being done.
    pub told: &'a (dyn Fn(&str) + Sync),
}

/// Brings a set back. Whoever uses the database is stopped then.
///
/// # Errors
/// Nothing has changed; or, where the broker or the directory fails, [`resume`] does the rest.
pub async fn restore(
    site: &Site<'_>,
    opened: &Opened<'_>,
    extent: Extent<'_>,
) -> Result<(), BackupError> {
    let id = &opened.set.manifest.id;
    (site.told)(&match extent {
        Extent::Whole => format!("restoring the database of {id}"),
        Extent::Schema(name) => format!("restoring schema {name} of {id}"),
    });
    let prepared = tokio::select! {
        prepared = database::prepare(&site.target, opened) => prepared,
        () = site.interrupt.cancelled() => Err(BackupError::Interrupted("nothing has changed")),
    };
    let placed = match prepared {
        Ok(prepared) => place(site, &prepared, extent).await,
        Err(error) => Err(error),
    };
    if placed.is_err() {
        // It takes as much of the disk as the one that runs.
        database::sweep(&site.target).await?;
    }
    placed?;
    match extent {
        Extent::Whole => {
            (site.told)("restoring the broker and the directory");
            others(site, opened).await
        }
        Extent::Schema(_) => Ok(()),
    }
}

/// Does the rest of a restore that has brought the database back.
///
/// # Errors
/// The broker or the directory fails: it can be resumed again.
pub async fn resume(site: &Site<'_>, opened: &Opened<'_>) -> Result<(), BackupError> {
    stop(site).await?;
    others(site, opened).await
}

async fn place(
    site: &Site<'_>,
    prepared: &Prepared,
    extent: Extent<'_>,
) -> Result<(), BackupError> {
    stop(site).await?;
    match extent {
        Extent::Whole => database::swap(&site.target, prepared).await,
        Extent::Schema(name) => database::replace_schema(&site.target, prepared, name).await,
    }
}

/// Stops whoever uses the database.
async fn stop(site: &Site<'_>) -> Result<(), BackupError> {
    let engine = site.target.postgres.engine;
    for container in site.users {
        if engine.inspect(container).await?.is_some() {
            engine.stop(container, PATIENCE).await?;
        }
    }
    Ok(())
}

/// The broker and the directory, and the end of it.
async fn others(site: &Site<'_>, opened: &Opened<'_>) -> Result<(), BackupError> {
    rest::restore(opened, site.broker, site.management, site.directory).await?;
    rest::finish(&site.target).await
}
