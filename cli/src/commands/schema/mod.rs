//! `dm schema`.

mod render;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dm_core::error::{Exit, Result};
use dm_operations::{Desk, schema};
use dm_schema::{Document, Folder, Source};

use crate::context::Context;

/// Keep and compare what the database, the broker and the realm are like.
///
/// The snapshots in docs/schemas are what a review sees: SQL a schema, a picture of it,
/// and the broker's topology and the realm in their normal form.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The folder of the snapshots, where it is not the project's docs/schemas.
    #[arg(long, value_name = "DIR", global = true)]
    folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write what the running stack is like to docs/schemas.
    Snapshot,
    /// Show what is other, and whether it breaks anybody; exit code 1 where anything is.
    Diff {
        /// From here …
        #[arg(value_enum, default_value = "snapshot")]
        from: Source,
        /// … to here.
        #[arg(value_enum, default_value = "live")]
        to: Source,
        /// Fail only where something breaks.
        #[arg(long)]
        breaking: bool,
    },
    /// List what there is a snapshot of, and whether the running stack is so.
    Ls,
    /// Check that snapshots, pictures, migrations and the running stack say the same, for
    /// CI: exit code 1 where they don't, 2 where that can't be told.
    Check,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let session = &context.session;
    let desk = Desk::open(session).await?;
    let folder = match &arguments.folder {
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
                printer.document(render::SNAPSHOT, &document)?;
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
                printer.document(render::DIFF, &report)?;
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
                printer.document(render::LIST, &list)?;
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
        printer.document(render::CHECK, &report)?;
    } else {
        printer.data(&render::check(&report, &printer.out()))?;
    }
    Ok(if report.is_clean() {
        Exit::Success
    } else {
        Exit::Found
    })
}
