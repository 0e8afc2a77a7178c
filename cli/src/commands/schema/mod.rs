//! `dm schema`.

mod render;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_operations::{Desk, schema};
use dm_schema::{Document, Folder, Source};

use crate::context::Context;

/// Snapshot and compare the schemas, the topology and the realm.
///
/// Snapshots are files in docs/schemas, so that a review shows each change: an SQL file and a
/// diagram for each database schema, and the broker topology and the realm as normalized JSON.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm schema diff
  dm schema snapshot
  dm schema check")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Directory of the snapshots [default: docs/schemas of the project].
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write snapshots of the running stack.
    #[command(after_long_help = "Examples:
  dm schema snapshot
  dm schema snapshot --dir /tmp/schemas")]
    Snapshot,
    /// Show the differences, classified as additive or breaking.
    ///
    /// Exit code 1 if there are differences, 2 if a source cannot be read.
    #[command(after_long_help = "Examples:
  dm schema diff
  dm schema diff snapshot migrations
  dm schema diff --breaking")]
    Diff {
        /// Source to compare from.
        #[arg(value_enum, default_value = "snapshot")]
        from: Source,
        /// Source to compare to.
        #[arg(value_enum, default_value = "live")]
        to: Source,
        /// Exit with code 1 only if there are breaking differences.
        #[arg(long)]
        breaking: bool,
    },
    /// List the snapshots, and whether the running stack matches them.
    #[command(after_long_help = "Examples:
  dm schema ls
  dm schema ls --json")]
    Ls,
    /// Check that the snapshots match the migrations and the running stack.
    ///
    /// Also checks that the diagrams match the snapshots. For CI: exit code 1 if there are
    /// differences, 2 if a source cannot be read, e.g. because the stack does not run.
    #[command(after_long_help = "Examples:
  dm schema check
  dm schema check --json")]
    Check,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let session = &context.session;
    let desk = Desk::open(session).await?;
    let folder = match &arguments.dir {
        Some(path) => Folder::at(path),
        None => Folder::of(&desk.project.loaded.root),
    };
    let printer = &context.printer;
    match arguments.action {
        Action::Snapshot => {
            let documents = schema::documents(session, &desk, Source::Live, &folder).await?;
            let written = folder.write(&documents)?;
            let document = render::Snapshot { files: written };
            if printer.is_json() {
                printer.document(&dm_core::document::SCHEMA_SNAPSHOT, &document)?;
            } else {
                printer.data(&render::snapshot(&document, &printer.out()))?;
            }
            Ok(Exit::Success)
        }
        Action::Diff { from, to, breaking } => {
            let before = schema::documents(session, &desk, from, &folder).await?;
            let after = schema::documents(session, &desk, to, &folder).await?;
            let differences = compared(&before, from, &after, to);
            let report = render::Diff::new(from, to, differences);
            if printer.is_json() {
                printer.document(&dm_core::document::SCHEMA_DIFF, &report)?;
            } else {
                printer.data(&render::diff(&report, &printer.out()))?;
            }
            let found = if breaking {
                report.breaks()
            } else {
                !report.is_same()
            };
            Ok(if found { Exit::Found } else { Exit::Success })
        }
        Action::Ls => {
            let snapshots = folder.read()?;
            let live = schema::documents(session, &desk, Source::Live, &folder).await?;
            let list = render::List::new(&snapshots, &live);
            if printer.is_json() {
                printer.document(&dm_core::document::SCHEMA_LIST, &list)?;
            } else {
                printer.data(&render::list(&list, &printer.out()))?;
            }
            Ok(Exit::Success)
        }
        Action::Check => check(context, &desk, &folder).await,
    }
}

/// What is compared of two sources: what both can tell.
fn compared(
    before: &[Document],
    from: Source,
    after: &[Document],
    to: Source,
) -> Vec<dm_schema::Difference> {
    let told = |documents: &[Document], other: Source| -> Vec<Document> {
        let told = documents.iter().filter(|it| other.tells(it));
        told.cloned().collect()
    };
    dm_schema::compare(&told(before, to), &told(after, from))
}

async fn check(context: &Context, desk: &Desk, folder: &Folder) -> Result<Exit> {
    let session = &context.session;
    let snapshots = folder.read()?;
    let mut checks = Vec::new();
    for to in [Source::Migrations, Source::Live] {
        let other = schema::documents(session, desk, to, folder).await?;
        let differences = compared(&snapshots, Source::Snapshot, &other, to);
        checks.push(render::Diff::new(Source::Snapshot, to, differences));
    }
    let report = render::Check {
        stale_pictures: folder.stale_pictures(&snapshots),
        checks,
    };
    let printer = &context.printer;
    if printer.is_json() {
        printer.document(&dm_core::document::SCHEMA_CHECK, &report)?;
    } else {
        printer.data(&render::check(&report, &printer.out()))?;
    }
    Ok(if report.is_clean() {
        Exit::Success
    } else {
        Exit::Found
    })
}
