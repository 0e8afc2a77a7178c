//! `dm golden`.

use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_operations::golden;
use dm_terminal::table::{Cell, Column, Table};

use crate::context::Context;

/// The schema of `dm golden ls --json`.
const SCHEMA: &str = "dm.golden/1";

/// Golden images: what fresh starts, resets and parallel instances begin with.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show whether there are golden images for the configuration as it is.
    Ls,
    /// Make them now, unless they are there.
    Make,
    /// Remove all golden images of this project's configuration.
    Rm,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
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
    Ok(Exit::Success)
}

async fn list(context: &Context) -> Result<()> {
    let goldens = golden::find(&context.session).await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(SCHEMA, &goldens)?;
    } else if goldens.is_empty() {
        printer.data("no golden images for this configuration; dm golden make makes them")?;
    } else {
        let mut table = Table::new(vec![Column::new("component"), Column::new("image")]);
        for (component, golden) in &goldens {
            table.row(vec![Cell::new(component), Cell::new(&golden.image)]);
        }
        printer.data(&table.render(&printer.out()))?;
    }
    Ok(())
}
