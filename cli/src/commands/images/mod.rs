//! `dm images`.

mod render;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dm_core::error::{ExitStatus, Result};
use dm_images::AcquiredImage;
use dm_images::archive::ArchiveSummary;
use dm_operations::{Project, images};
use dm_terminal::text;
use serde::Serialize;

use crate::context::Context;

/// Build, pull, remove, save and load container images.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm images ls
  dm images prune")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// List the images with their state and the instances that use them.
    #[command(after_long_help = "Examples:
  dm images ls
  dm images ls --json")]
    Ls,
    /// Build images without a registry, and compile the services.
    #[command(after_long_help = "Examples:
  dm images build
  dm images build keycloak --no-cache")]
    Build {
        /// Images to build [default: all].
        #[arg(value_name = "IMAGE")]
        names: Vec<String>,
        /// Run every build step again, even if the image exists.
        #[arg(long)]
        no_cache: bool,
        /// Install missing programs without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Pull official images from their registries.
    #[command(after_long_help = "Examples:
  dm images pull
  dm images pull postgres rabbitmq")]
    Pull {
        /// Images to pull [default: all that have an official image].
        #[arg(value_name = "IMAGE")]
        names: Vec<String>,
    },
    /// Remove the stale images that are not in use.
    #[command(after_long_help = "Examples:
  dm images prune
  dm images prune --all")]
    Prune {
        /// Also remove the current images that are not in use.
        #[arg(long)]
        all: bool,
    },
    /// Save all current images to a file, e.g. for a machine without network access.
    #[command(after_long_help = "Examples:
  dm images save images.tar.zst
  dm images save images.tar.zst --golden")]
    Save {
        /// File to write; only its owner can read it.
        file: PathBuf,
        /// Include the golden images.
        ///
        /// They contain password hashes and the cookie of the broker.
        #[arg(long)]
        golden: bool,
    },
    /// Load the images from a file that `dm images save` wrote.
    #[command(after_long_help = "Examples:
  dm images load images.tar.zst
  dm images load images.tar.zst --json")]
    Load {
        /// File to read.
        file: PathBuf,
    },
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let project = session.project()?;
    match arguments.command {
        Command::Ls => list(context, &project).await,
        Command::Build {
            names,
            no_cache,
            yes,
        } => {
            let obtained = images::build(session, &project, &names, no_cache, yes).await?;
            print_obtained(context, obtained)
        }
        Command::Pull { names } => {
            let obtained = images::pull(session, &project, &names).await?;
            print_obtained(context, obtained)
        }
        Command::Prune { all } => prune(context, &project, all).await,
        Command::Save { file, golden } => {
            let saved = images::save(session, &project, &file, golden).await?;
            print_transferred(context, &saved, "saved")
        }
        Command::Load { file } => {
            let loaded = images::load(session, &project, &file).await?;
            print_transferred(context, &loaded, "loaded")
        }
    }
}

async fn list(context: &Context, project: &Project) -> Result<ExitStatus> {
    let rows = images::open(&context.session, project)
        .await?
        .list_images()
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        let document = render::ImagesDocument { images: &rows };
        printer.print_document(&dm_core::document::IMAGES, &document)?;
    } else if rows.is_empty() {
        let build = context.session.complete_hint("dm images build");
        printer.note(&format!("there are no images yet; obtain them: {build}"));
    } else {
        printer.write_stdout(&render::render(&rows, &printer.stdout_canvas()))?;
    }
    Ok(ExitStatus::Success)
}

#[derive(Serialize)]
struct ObtainedDocument {
    images: Vec<AcquiredImage>,
}

fn print_obtained(context: &Context, obtained: Vec<AcquiredImage>) -> Result<ExitStatus> {
    let printer = &context.printer;
    if printer.is_json() {
        printer.print_document(
            &dm_core::document::IMAGES_OBTAINED,
            &ObtainedDocument { images: obtained },
        )?;
    } else {
        for image in &obtained {
            printer.write_stdout(&image.reference)?;
        }
    }
    Ok(ExitStatus::Success)
}

async fn prune(context: &Context, project: &Project, all: bool) -> Result<ExitStatus> {
    let pruned = images::open(&context.session, project)
        .await?
        .prune(all)
        .await?;
    let printer = &context.printer;
    if printer.is_json() {
        printer.print_document(&dm_core::document::IMAGES_PRUNED, &pruned)?;
        return Ok(ExitStatus::Success);
    }
    for row in &pruned.removed {
        printer.write_stdout(row.reference.as_deref().unwrap_or(&row.id))?;
    }
    printer.done(&format!(
        "{} removed, {} freed",
        text::pluralize(pruned.removed.len(), "image"),
        text::format_bytes(pruned.freed)
    ));
    if !pruned.skipped.is_empty() {
        printer.note(&format!(
            "{} kept, because containers or other images need them",
            text::pluralize(pruned.skipped.len(), "image")
        ));
    }
    Ok(ExitStatus::Success)
}

fn print_transferred(
    context: &Context,
    transferred: &ArchiveSummary,
    done: &str,
) -> Result<ExitStatus> {
    let printer = &context.printer;
    if printer.is_json() {
        printer.print_document(&dm_core::document::IMAGES_TRANSFERRED, transferred)?;
    } else {
        printer.done(&format!(
            "{} {done}, {}",
            text::pluralize(transferred.images.len(), "image"),
            text::format_bytes(transferred.size)
        ));
    }
    Ok(ExitStatus::Success)
}
