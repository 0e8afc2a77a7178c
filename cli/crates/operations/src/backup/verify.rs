//! A set proves itself in an instance of its own.

use dm_backup::{Extent, Opened};
use dm_components::{postgres, rabbitmq};
use dm_core::error::Result;

use super::restore::{Account, Ways, account, start};
use crate::down::take_down;
use crate::session::{Desk, PortUse, Project, Session};

/// What a scratch instance is called that a backup is proved in.
const SCRATCH: &str = "backup-proof";

/// Restores a set into an instance of its own, accounts for every event there, and removes
/// the instance.
///
/// # Errors
/// The set can't be restored.
pub async fn verify(session: &Session, opened: &Opened<'_>) -> Result<Account> {
    let project = session.project_of(SCRATCH)?.without_schedule();
    let _guard = session.lock(&project, "dm backup verify").await?;
    let engine = session.engine(project.config()).await?;
    // What a killed call has left.
    take_down(session, &project, engine.clone(), true).await?;
    let proved = proof(session, &project, opened).await;
    // Whatever came of it, and also where it was interrupted.
    take_down(&session.undisturbed(), &project, engine, true).await?;
    proved
}

async fn proof(session: &Session, project: &Project, opened: &Opened<'_>) -> Result<Account> {
    let only = [postgres::NAME, rabbitmq::NAME].map(str::to_owned);
    let ports = PortUse::Allocate {
        free: true,
        only: &only,
    };
    start(session, project, "verify", ports, &only).await?;
    let desk = Desk::of(session, session.project_of(SCRATCH)?.without_schedule()).await?;
    let ways = Ways::open(session, &desk).await?;
    let letters = ways.restore(opened, Extent::Whole).await?;
    // The account has the dead letters in hand itself.
    drop(ways);
    account(session, &desk, &letters, "the backup was not verified").await
}
