//! `dm schema`.

mod render;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_operations::{StackClients, schema};
use dm_schema::{SchemaDocument, SchemaSource, SnapshotDir};

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
        from: SchemaSource,
        /// Source to compare to.
        #[arg(value_enum, default_value = "live")]
        to: SchemaSource,
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

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let desk = StackClients::open(session).await?;
    let folder = match &arguments.dir {
        Some(path) => SnapshotDir::new(path),
        None => SnapshotDir::in_project(&desk.project.loaded.root),
    };
    let printer = &context.printer;
    match arguments.action {
        Action::Snapshot => {
            let documents =
                schema::load_documents(session, &desk, SchemaSource::Live, &folder).await?;
            let written = folder.write(&documents)?;
            let document = render::SnapshotDocument { files: written };
            if printer.is_json() {
                printer.print_document(&dm_core::document::SCHEMA_SNAPSHOT, &document)?;
            } else {
                printer.write_stdout(&render::render_snapshot(
                    &document,
                    &printer.stdout_canvas(),
                ))?;
            }
            Ok(ExitStatus::Success)
        }
        Action::Diff { from, to, breaking } => {
            let before = schema::load_documents(session, &desk, from, &folder).await?;
            let after = schema::load_documents(session, &desk, to, &folder).await?;
            let differences = compare_common(&before, from, &after, to);
            let report = render::DiffDocument::new(from, to, differences);
            if printer.is_json() {
                printer.print_document(&dm_core::document::SCHEMA_DIFF, &report)?;
            } else {
                printer.write_stdout(&render::render_diff(&report, &printer.stdout_canvas()))?;
            }
            let found = if breaking {
                report.is_breaking()
            } else {
                !report.is_same()
            };
            Ok(if found {
                ExitStatus::Findings
            } else {
                ExitStatus::Success
            })
        }
        Action::Ls => {
            let snapshots = folder.read()?;
            let live = schema::load_documents(session, &desk, SchemaSource::Live, &folder).await?;
            let list = render::SchemaListDocument::new(&snapshots, &live);
            if printer.is_json() {
                printer.print_document(&dm_core::document::SCHEMA_LIST, &list)?;
            } else {
                printer.write_stdout(&render::render_list(&list, &printer.stdout_canvas()))?;
            }
            Ok(ExitStatus::Success)
        }
        Action::Check => check(context, &desk, &folder).await,
    }
}

/// What is compared of two sources: what both can tell.
fn compare_common(
    before: &[SchemaDocument],
    from: SchemaSource,
    after: &[SchemaDocument],
    to: SchemaSource,
) -> Vec<dm_schema::Difference> {
    let told = |documents: &[SchemaDocument], other: SchemaSource| -> Vec<SchemaDocument> {
        let told = documents.iter().filter(|it| other.covers(it));
        told.cloned().collect()
    };
    dm_schema::compare(&told(before, to), &told(after, from))
}

async fn check(context: &Context, desk: &StackClients, folder: &SnapshotDir) -> Result<ExitStatus> {
    let session = &context.session;
    let snapshots = folder.read()?;
    let mut checks = Vec::new();
    for to in [SchemaSource::Migrations, SchemaSource::Live] {
        let other = schema::load_documents(session, desk, to, folder).await?;
        let differences = compare_common(&snapshots, SchemaSource::Snapshot, &other, to);
        checks.push(render::DiffDocument::new(
            SchemaSource::Snapshot,
            to,
            differences,
        ));
    }
    let report = render::SchemaCheckDocument {
        stale_pictures: folder.stale_diagrams(&snapshots),
        checks,
    };
    let printer = &context.printer;
    if printer.is_json() {
        printer.print_document(&dm_core::document::SCHEMA_CHECK, &report)?;
    } else {
        printer.write_stdout(&render::render_check(&report, &printer.stdout_canvas()))?;
    }
    Ok(if report.is_clean() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}
