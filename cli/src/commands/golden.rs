//! `dm golden`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_operations::golden;
use dm_stack::golden::GoldenImage;
use dm_terminal::canvas::Canvas;
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
        Action::Make => {
            if !golden::make(&context.session).await? {
                context.printer.done("the golden images exist already");
            }
        }
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
    let make = context.session.complete_hint("dm golden make");
    Ok(context
        .printer
        .print_result(&dm_core::document::GOLDEN, &images, |canvas| {
            render(&images, &make, canvas)
        })?)
}

/// Renders the golden images by component as a table. `make_command` is the command that creates
/// them.
fn render(images: &BTreeMap<String, GoldenImage>, make_command: &str, canvas: &Canvas) -> String {
    if images.is_empty() {
        return format!("no golden images for this configuration; create them: {make_command}");
    }
    let mut table = Table::new(vec![Column::new("component"), Column::new("image")]);
    for (component, golden) in images {
        table.add_row(vec![Cell::new(component), Cell::new(&golden.image)]);
    }
    table.render(canvas)
}

#[cfg(test)]
mod tests {
    use dm_terminal::testing::pipe_canvas;

    use super::*;

    #[test]
    fn golden_images_are_listed_or_suggested_to_be_created() {
        let make = "dm --instance review golden make";
        let mut images = BTreeMap::new();
        assert_eq!(
            render(&images, make, &pipe_canvas()),
            format!("no golden images for this configuration; create them: {make}")
        );
        let image = "dm/golden-postgres:1".to_owned();
        images.insert("postgres".to_owned(), GoldenImage { image });
        let table = render(&images, make, &pipe_canvas());
        assert!(table.contains("dm/golden-postgres:1"), "{table}");
        assert!(!table.contains(make), "{table}");
    }
}
