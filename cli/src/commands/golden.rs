//! `dm golden`.

use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_operations::golden;
use dm_terminal::table::{Cell, Column, Table};

use crate::context::Context;

/// List, create and remove golden images.
///
/// A golden image holds the state of a component after its initialization. New instances and
/// resets start from golden images, and so skip the initialization.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm golden ls
  dm golden make")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the golden images for the current configuration.
    #[command(after_long_help = "Examples:
  dm golden ls
  dm golden ls --json")]
    Ls,
    /// Create the golden images for the current configuration, unless they exist.
    ///
    /// Starts a scratch instance for it, and removes the instance afterwards.
    #[command(after_long_help = "Examples:
  dm golden make
  dm golden make --progress plain")]
    Make,
    /// Remove the golden images for the current configuration.
    #[command(after_long_help = "Examples:
  dm golden rm
  dm golden rm --project-directory ~/dm")]
    Rm,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    match arguments.action {
        Action::Ls => list(context).await?,
        Action::Make => golden::make(&context.session).await?,
        Action::Rm => {
            let removed = golden::remove(&context.session).await?;
            context
                .printer
                .done(&format!("{removed} golden images removed"));
        }
    }
    Ok(ExitStatus::Success)
}

async fn list(context: &Context) -> Result<()> {
    let images = golden::find(&context.session).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.print_document(&dm_core::document::GOLDEN, &images)?;
    } else if images.is_empty() {
        printer
            .write_stdout("no golden images for this configuration; create them: dm golden make")?;
    } else {
        let mut table = Table::new(vec![Column::new("component"), Column::new("image")]);
        for (component, golden) in &images {
            table.add_row(vec![Cell::new(component), Cell::new(&golden.image)]);
        }
        printer.write_stdout(&table.render(&printer.stdout_canvas()))?;
    }
    Ok(())
}
