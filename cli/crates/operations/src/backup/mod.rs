//! Backups are made, proved, brought back and removed.

mod prune;
pub mod restore;
mod schedule;
mod verify;

use std::path::PathBuf;

use dm_backup::{Access, BackupError, Identities, Purpose, Recipients, Set, Source, Store};
use dm_components::postgres;
use dm_components::reach::Reach;
use dm_core::error::Result;

use crate::session::{Desk, Project, Session};

pub use prune::{Pruned, Pruning};
pub use schedule::{run as schedule, run_in_container as schedule_in_container};
pub use verify::verify;

/// To whom backups are encrypted by the configuration.
///
/// # Errors
/// One of the recipients is none.
pub fn recipients(project: &Project) -> Result<Recipients> {
    Ok(Recipients::parse(
        project.config().backup.recipients.iter(),
    )?)
}

/// The keys to encrypted backups: those of a file, or of the configuration.
///
/// # Errors
/// The file can't be read.
pub fn identities(project: &Project, file: Option<PathBuf>) -> Result<Identities> {
    let configured = project.config().backup.identity.as_ref();
    let file = file.or_else(|| Some(configured?.in_project(&project.loaded.root)));
    Ok(match file {
        Some(path) => Identities::read(&path)?,
        None => Identities::default(),
    })
}

/// An instance's sets, in this folder or in that of the configuration.
#[must_use]
pub fn store(project: &Project, dir: Option<PathBuf>) -> Store {
    let instance = &project.instance;
    Store::new(match dir {
        Some(dir) => dir.join(&instance.project).join(&instance.name),
        None => project.instance_backups(),
    })
}

/// Makes a set of what runs. The caller has the instance's lock.
///
/// # Errors
/// A server is away, or it was interrupted; the sets that there are stay as they are.
pub async fn create(
    session: &Session,
    desk: &Desk,
    store: &Store,
    recipients: &Recipients,
    purpose: Purpose,
) -> Result<Set> {
    let instance = &desk.project.instance;
    let access = Access::of(desk.config(), instance);
    let servers = access.open(Reach::Published(&desk.ports)).await?;
    let near = if desk.engine.is_local() {
        let container = instance.container(postgres::NAME);
        let inspected = desk.engine.inspect(&container).await?;
        inspected.and_then(|container| container.address)
    } else {
        None
    };
    let source = Source {
        servers: &servers.with_near(near),
        recipients,
        told: &|what| session.frontend.note(&format!("saving {what}")),
    };
    make(session, &source, store, purpose).await
}

/// Makes a set, unless interrupted.
async fn make(
    session: &Session,
    source: &Source<'_>,
    store: &Store,
    purpose: Purpose,
) -> Result<Set> {
    tokio::select! {
        set = dm_backup::create(source, store, purpose) => Ok(set?),
        () = session.interrupt.cancelled() => {
            dm_backup::abandon(source, store).await?;
            Err(BackupError::Interrupted("no backup was created").into())
        }
    }
}
