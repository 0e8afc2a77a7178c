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
    /// Exit code 1 if there are differences, 2 if a source cannot be read, 4 if the stack does not
    /// run or a server fails, 5 if another session holds a lock.
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
    /// differences, 2 if a source cannot be read, 4 if the stack does not run or a server fails, 5
    /// if another session holds a lock.
    #[command(after_long_help = "Examples:
  dm schema check
  dm schema check --json")]
    Check,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let clients = StackClients::open(session).await?;
    let snapshot_dir = match &arguments.dir {
        Some(path) => SnapshotDir::new(path),
        None => SnapshotDir::in_project(&clients.project.loaded.root),
    };
    let printer = &context.printer;
    match arguments.action {
        Action::Snapshot => {
            let documents =
                schema::load_documents(session, &clients, SchemaSource::Live, &snapshot_dir)
                    .await?;
            let document = render::SnapshotDocument {
                files: snapshot_dir.write(&documents)?,
            };
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
            let before = schema::load_documents(session, &clients, from, &snapshot_dir).await?;
            let after = schema::load_documents(session, &clients, to, &snapshot_dir).await?;
            let differences = compare_common(&before, from, &after, to);
            let report = render::DiffDocument::new(from, to, differences);
            if printer.is_json() {
                printer.print_document(&dm_core::document::SCHEMA_DIFF, &report)?;
            } else {
                printer.write_stdout(&render::render_diff(&report, &printer.stdout_canvas()))?;
            }
            let has_findings = if breaking {
                report.is_breaking()
            } else {
                !report.is_equal()
            };
            Ok(if has_findings {
                ExitStatus::Findings
            } else {
                ExitStatus::Success
            })
        }
        Action::Ls => {
            let snapshots = snapshot_dir.read()?;
            let live = schema::load_documents(session, &clients, SchemaSource::Live, &snapshot_dir)
                .await?;
            let list = render::SchemaListDocument::new(&snapshots, &live);
            if printer.is_json() {
                printer.print_document(&dm_core::document::SCHEMA_LIST, &list)?;
            } else {
                printer.write_stdout(&render::render_list(&list, &printer.stdout_canvas()))?;
            }
            Ok(ExitStatus::Success)
        }
        Action::Check => check(context, &clients, &snapshot_dir).await,
    }
}

/// Compares the documents that both sources cover.
fn compare_common(
    before: &[SchemaDocument],
    from: SchemaSource,
    after: &[SchemaDocument],
    to: SchemaSource,
) -> Vec<dm_schema::Difference> {
    let common = |documents: &[SchemaDocument], other: SchemaSource| -> Vec<SchemaDocument> {
        let common = documents.iter().filter(|document| other.covers(document));
        common.cloned().collect()
    };
    dm_schema::compare(&common(before, to), &common(after, from))
}

async fn check(
    context: &Context,
    clients: &StackClients,
    snapshot_dir: &SnapshotDir,
) -> Result<ExitStatus> {
    let session = &context.session;
    let snapshots = snapshot_dir.read()?;
    let mut checks = Vec::new();
    for to in [SchemaSource::Migrations, SchemaSource::Live] {
        let other = schema::load_documents(session, clients, to, snapshot_dir).await?;
        let differences = compare_common(&snapshots, SchemaSource::Snapshot, &other, to);
        checks.push(render::DiffDocument::new(
            SchemaSource::Snapshot,
            to,
            differences,
        ));
    }
    let report = render::SchemaCheckDocument {
        stale_diagrams: snapshot_dir.stale_diagrams(&snapshots),
        checks,
    };
    let printer = &context.printer;
    if printer.is_json() {
        printer.print_document(&dm_core::document::SCHEMA_CHECK, &report)?;
    } else {
        let command = session.complete_hint(&snapshot_dir.snapshot_command());
        let canvas = printer.stdout_canvas();
        printer.write_stdout(&render::render_check(&report, &command, &canvas))?;
    }
    Ok(if report.is_clean() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}
