//! `dm reset`.

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_operations::backup::restore;
use dm_operations::reset::{self, Beginning};
use dm_operations::seed::Seed;

use crate::context::Context;
use crate::views;

/// Remove all data and start a fresh stack.
///
/// With a backup, the backup is restored and checked next to the current data, which is removed
/// when the backup replaces it. A backup that cannot be restored changes nothing.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm reset
  dm reset --yes --to medium
  dm reset --to latest")]
pub(crate) struct Arguments {
    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,
    /// Data to start with: the scale of a seed, the id of a backup, or `latest`.
    ///
    /// The scales are those of `dm seed`: demo, small, medium, large, or a number of orders. `latest`
    /// is the latest backup. Separate the digits of a large number, e.g. `20_000_000`.
    #[arg(long, value_name = "SEED|BACKUP")]
    to: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
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
