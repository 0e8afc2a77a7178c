//! `dm reset`.

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_operations::Project;
use dm_operations::backup::restore;
use dm_operations::reset::{self, InitialData};
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

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let project = session.project()?;
    let initial_data = InitialData::resolve(&project, arguments.to.as_deref())?;
    confirm(context, &project, &initial_data, arguments.yes).await?;
    // One lock for both: no waiting command may run between the reset and the load of the
    // initial data.
    let _guard = session.lock(&project, "dm reset").await?;
    if let InitialData::Backup(backup) = &initial_data {
        let (backup, identities) = &**backup;
        let opened = backup.open(identities)?;
        let report = restore::reset_to_backup(session, &project, &opened).await?;
        let repair = session.complete_hint(views::reconcile::REPAIR_COMMAND);
        return views::reconcile::print_restore_report(printer, report, Some(&repair));
    }
    let run = reset::reset_and_bring_up(session, &project, arguments.yes)
        .await?
        .into_result()?;
    let rows = run.status().await?;
    views::status::print(printer, &run.stack.instance.name, &rows)?;
    if let InitialData::Seed(scale) = initial_data {
        let result = Seed::new(scale).run(session).await?;
        views::seed::print(printer, result)?;
    }
    Ok(ExitStatus::Success)
}

/// Asks for confirmation that all data is removed. On a terminal, a backup is compared with the
/// data before.
async fn confirm(
    context: &Context,
    project: &Project,
    initial_data: &InitialData,
    yes: bool,
) -> Result<()> {
    let printer = &context.printer;
    if let InitialData::Backup(backup) = initial_data
        && !yes
        && printer.is_interactive()
    {
        let current_rows = restore::count_current_rows(project).await?;
        views::backup_comparison::print(printer, &backup.0, &current_rows);
    }
    reset::confirm(&context.session, project, yes)
}

#[cfg(test)]
mod tests {
    use dm_backup::Identities;

    use super::*;
    use crate::test_support::assert_backup_is_compared_before;

    #[tokio::test]
    async fn reset_compares_the_backup_with_the_data_before_the_question() {
        assert_backup_is_compared_before(
            "remove all data",
            async |context, project, backup, yes| {
                let content = Box::new((backup.clone(), Identities::default()));
                let initial_data = InitialData::Backup(content);
                confirm(context, project, &initial_data, yes).await
            },
        )
        .await;
    }
}
