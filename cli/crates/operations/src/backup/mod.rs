//! Backups are made, proved, brought back and removed.

mod prune;
pub mod restore;
mod schedule;
mod verify;

use std::path::PathBuf;

use dm_backup::{
    Backup, BackupError, BackupSource, BackupStore, Identities, Purpose, Recipients, ServerAccess,
};
use dm_components::client_location::ClientLocation;
use dm_components::postgres;
use dm_core::error::Result;

use crate::session::{Project, Session, StackClients};

pub use prune::{PrunePlan, PruneResult};
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
        Some(path) => Identities::load(&path)?,
        None => Identities::default(),
    })
}

/// An instance's sets, in this folder or in that of the configuration.
#[must_use]
pub fn open_store(project: &Project, dir: Option<PathBuf>) -> BackupStore {
    let instance = &project.instance;
    BackupStore::new(match dir {
        Some(dir) => dir.join(&instance.project).join(&instance.name),
        None => project.instance_backups_dir(),
    })
}

/// Makes a set of what runs. The caller has the instance's lock.
///
/// # Errors
/// A server is away, or it was interrupted; the sets that there are stay as they are.
pub async fn create(
    session: &Session,
    desk: &StackClients,
    store: &BackupStore,
    recipients: &Recipients,
    purpose: Purpose,
) -> Result<Backup> {
    let instance = &desk.project.instance;
    let access = ServerAccess::from_config(desk.config(), instance);
    let servers = access.connect(ClientLocation::Host(&desk.ports)).await?;
    let near = if desk.engine.is_local() {
        let container = instance.container_name(postgres::NAME);
        let inspected = desk.engine.inspect_container(&container).await?;
        inspected.and_then(|container| container.address)
    } else {
        None
    };
    let source = BackupSource {
        servers: &servers.with_direct_address(near),
        recipients,
        report: &|what| session.frontend.note(&format!("saving {what}")),
    };
    create_or_abort(session, &source, store, purpose).await
}

/// Makes a set, unless interrupted.
async fn create_or_abort(
    session: &Session,
    source: &BackupSource<'_>,
    store: &BackupStore,
    purpose: Purpose,
) -> Result<Backup> {
    tokio::select! {
        set = dm_backup::create(source, store, purpose) => Ok(set?),
        () = session.interrupt.cancelled() => {
            dm_backup::abort(source, store).await?;
            Err(BackupError::Interrupted("no backup was created").into())
        }
    }
}
