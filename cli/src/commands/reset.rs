//! `dm reset`.

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_operations::backup::restore;
use dm_operations::reset::{self, Beginning};
use dm_operations::seed::Seed;

use crate::context::Context;
use crate::views;

/// Throw all data of the instance away and bring it up fresh.
///
/// With a backup, that is restored and checked beside the data that there is, which goes
/// when the backup takes its place: a backup that can't be restored changes nothing.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
    /// What to begin with: the scale of a seed, as `dm seed` takes it, or the id of
    /// a backup, or `latest`.
    #[arg(long, value_name = "SEED|BACKUP")]
    to: Option<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let (session, printer) = (&context.session, &context.printer);
    let project = session.project()?;
    let beginning = Beginning::find(&project, arguments.to.as_deref())?;
    if let Beginning::Backup(backup) = &beginning
        && !arguments.yes
        && printer.can_ask()
    {
        let now = restore::rows_now(&project).await?;
        views::comparison::show(printer, &backup.0, &now);
    }
    reset::confirm(session, &project, arguments.yes)?;
    // One lock for all of it: whatever waits must not come between the reset and what the
    // instance begins with.
    let _guard = session.lock(&project, "dm reset").await?;
    if let Beginning::Backup(backup) = &beginning {
        let (set, keys) = &**backup;
        let account = restore::begin(session, &project, &set.open(keys)?).await?;
        return views::reconcile::show_account(printer, account);
    }
    let brought = reset::fresh(session, &project, arguments.yes)
        .await?
        .complete()?;
    let rows = brought.status().await?;
    views::status::show(printer, &brought.stack.instance.name, &rows)?;
    if let Beginning::Seed(scale) = beginning {
        let seeded = Seed::of(scale).fill(session).await?;
        views::seed::show(printer, seeded)?;
    }
    Ok(Exit::Success)
}
