//! `dm golden`.

use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::{Args, Subcommand};
use dm_config::overrides;
use dm_core::error::{Exit, Result};
use dm_host::detach;
use dm_stack::images::NodeProgress;
use dm_stack::{golden, scratch, up};
use dm_terminal::table::{Cell, Column, Table};

use super::context::{Context, PortUse, Project};
use super::run::{RunError, reported};

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
        Action::Ls => list(context).await,
        Action::Make => make(context).await.map(|()| Exit::Success),
        Action::Rm => remove(context).await,
    }
}

/// Makes the golden images in a scratch instance of their own, unless they are
/// there already.
///
/// # Errors
/// A failing engine, image or component.
pub async fn make(context: &Context) -> Result<()> {
    let project = context.project_of(golden::INSTANCE)?.without_schedule();
    let _guard = context.lock(&project, "dm golden make").await?;
    let engine = context.engine(project.config()).await?;
    // Services keep nothing of their own.
    let only: Vec<String> = dm_components::infrastructure(project.config(), &project.loaded.root)
        .iter()
        .map(|component| component.name().to_owned())
        .collect();
    let request = up::Request {
        only: only.clone(),
        wait: project.config().timeouts.wait.get(),
        golden: up::GoldenUse::Ignore,
        kept: up::Kept::Ask,
    };
    let (outcome, _) = reported(
        context,
        "golden make",
        Some(request.wait),
        async |emitter| {
            let progress = Arc::new(NodeProgress::new(emitter.clone()));
            let consent = context.consent(false);
            let (stack, _) = context
                .stack(
                    &project,
                    engine,
                    PortUse::Allocate {
                        free: true,
                        only: &only,
                    },
                    progress,
                    consent,
                )
                .await?;
            // Another process may have made them while this one waited.
            if !golden::find(&stack).await?.is_empty() {
                return Ok(Default::default());
            }
            scratch::make(&Arc::new(stack), &request, &emitter, &context.interrupt).await
        },
        dm_stack::executor::Outcome::ok,
    )
    .await?;
    match RunError::of(&outcome) {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Makes the golden images in a process of its own that outlives this one.
///
/// # Errors
/// The process can't be started.
pub fn make_in_background(context: &Context, project: &Project) -> Result<()> {
    let log = project.state.path().join("golden.log");
    let mut command = Command::new(detach::own_program()?);
    command
        .args([
            "golden",
            "make",
            "--progress",
            "plain",
            "--project-directory",
        ])
        .arg(&project.loaded.root)
        .stdin(Stdio::null());
    let (variable, overrides) = overrides::handed(context.overrides());
    command.env(variable, overrides);
    detach::spawn(command, &log)?;
    context.printer.note(&format!(
        "preparing golden images in the background, so that the next fresh start is quick \
         (dm golden ls; log: {})",
        log.display()
    ));
    Ok(())
}

async fn list(context: &Context) -> Result<Exit> {
    let project = context.project()?;
    let stack = context.quiet_stack(&project).await?;
    let goldens = golden::find(&stack).await?;
    if context.printer.is_json() {
        context.printer.document(SCHEMA, &goldens)?;
    } else if goldens.is_empty() {
        context
            .printer
            .data("no golden images for this configuration; dm golden make makes them")?;
    } else {
        let mut table = Table::new(vec![Column::new("component"), Column::new("image")]);
        for (component, golden) in &goldens {
            table.row(vec![Cell::new(component), Cell::new(&golden.image)]);
        }
        context
            .printer
            .data(&table.render(&context.printer.out()))?;
    }
    Ok(Exit::Success)
}

async fn remove(context: &Context) -> Result<Exit> {
    let project = context.project()?;
    // Not while they are being made.
    let making = context.project_of(golden::INSTANCE)?;
    let _guard = context.lock(&making, "dm golden rm").await?;
    let stack = context.quiet_stack(&project).await?;
    let goldens = golden::find(&stack).await?;
    for golden in goldens.values() {
        stack.engine.remove_image(&golden.image).await?;
    }
    context
        .printer
        .done(&format!("{} golden images removed", goldens.len()));
    Ok(Exit::Success)
}
