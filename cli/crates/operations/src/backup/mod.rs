//! Creates, verifies, restores and removes backups.

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

/// Returns the recipients for which the configuration encrypts backups.
///
/// # Errors
/// If a recipient is invalid.
pub fn recipients(project: &Project) -> Result<Recipients> {
    Ok(Recipients::parse(
        project.config().backup.recipients.iter(),
    )?)
}

/// Loads the identities that decrypt backups, from the given file or that of the
/// configuration.
///
/// # Errors
/// If the file cannot be read.
pub fn identities(project: &Project, file: Option<PathBuf>) -> Result<Identities, BackupError> {
    let configured = project.config().backup.identity.as_ref();
    let file = file.or_else(|| Some(configured?.in_project(&project.loaded.root)));
    match file {
        Some(path) => Identities::load(&path),
        None => Ok(Identities::default()),
    }
}

/// Opens the backup store of an instance, in this directory or in that of the configuration.
#[must_use]
pub fn open_store(project: &Project, dir: Option<PathBuf>) -> BackupStore {
    let instance = &project.instance;
    match dir {
        Some(dir) => {
            BackupStore::new(dir.join(&instance.project).join(&instance.name)).with_dir_option(dir)
        }
        None => BackupStore::new(project.instance_backups_dir()),
    }
}

/// Creates a backup of the running stack. The caller holds the instance lock.
///
/// # Errors
/// If a server is not running or cannot be reached, or the call is interrupted. Existing backups
/// are unchanged.
pub async fn create(
    session: &Session,
    clients: &StackClients,
    store: &BackupStore,
    recipients: &Recipients,
    purpose: Purpose,
) -> Result<Backup> {
    clients.require_database().await?;
    let instance = &clients.project.instance;
    let access = ServerAccess::from_config(clients.config(), instance);
    let servers = access.connect(ClientLocation::Host(&clients.ports)).await?;
    let direct_address = if clients.engine.is_local() {
        let container = instance.container_name(postgres::NAME);
        let inspected = clients.engine.inspect_container(&container).await?;
        inspected.and_then(|container| container.address)
    } else {
        None
    };
    let source = BackupSource {
        servers: &servers.with_direct_address(direct_address),
        recipients,
        report: &|item| session.frontend.note(&format!("saving {item}")),
    };
    create_or_abort(session, &source, store, purpose).await
}

/// Creates a backup, or aborts it on an interrupt.
async fn create_or_abort(
    session: &Session,
    source: &BackupSource<'_>,
    store: &BackupStore,
    purpose: Purpose,
) -> Result<Backup> {
    tokio::select! {
        backup = dm_backup::create(source, store, purpose) => Ok(backup?),
        () = session.interrupt.cancelled() => {
            dm_backup::abort(source, store).await?;
            Err(BackupError::Interrupted("no backup was created").into())
        }
    }
}
