//! `dm down`.

use std::sync::Arc;

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_engine::Engine;
use dm_host::ports::Allocator;
use dm_images::Silent;
use dm_stack::down::{self, Removed};
use dm_terminal::text;

use super::context::{Context, PortUse, Project};
use super::run::{RunError, reported};

/// Stop and remove the stack.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Remove its volumes as well: all data of the instance is gone then.
    #[arg(long)]
    volumes: bool,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let _guard = context.lock(&project, "dm down").await?;
    let engine = context.engine(project.config()).await?;
    let removed = take_down(context, &project, engine, arguments.volumes).await?;
    if context.printer.is_json() {
        context.printer.document("dm.down/1", &removed)?;
        return Ok(Exit::Success);
    }
    if let Some(sentence) = beside_components(&removed) {
        context.printer.done(&sentence);
    }
    if !removed.kept_volumes.is_empty() {
        context.printer.note(&format!(
            "the data of {} stays; {} removes it",
            removed.kept_volumes.join(", "),
            context.command("down --volumes")
        ));
    }
    Ok(Exit::Success)
}

/// Stops and removes the instance, and shows it. The caller has the instance's lock.
///
/// # Errors
/// A failing engine, or [`RunError`] where something is left.
pub async fn take_down(
    context: &Context,
    project: &Project,
    engine: Engine,
    volumes: bool,
) -> Result<Removed> {
    let consent = context.consent(false);
    let (stack, _) = context
        .stack(
            project,
            engine,
            PortUse::Existing,
            Arc::new(Silent),
            consent,
        )
        .await?;
    let stack = Arc::new(stack);
    let (removed, _) = reported(
        context,
        "down",
        None,
        async |emitter| down::down(&stack, volumes, &emitter, &context.interrupt).await,
        |removed| removed.outcome.ok(),
    )
    .await?;
    if let Some(error) = RunError::of(&removed.outcome) {
        return Err(error.into());
    }
    // Its ports stay its own as long as its data does.
    if removed.kept_volumes.is_empty() {
        Allocator::new(project.state.clone())
            .release(&project.instance.project, &project.instance.name)?;
    }
    Ok(removed)
}

/// What the run over the components has not told.
fn beside_components(removed: &Removed) -> Option<String> {
    let volumes =
        (!removed.volumes.is_empty()).then(|| text::count(removed.volumes.len(), "volume"));
    match (removed.components.is_empty(), volumes) {
        (_, Some(volumes)) => Some(format!("{volumes} removed")),
        (false, None) => None,
        (true, None) if removed.networks.is_empty() => Some("nothing to remove".into()),
        (true, None) => Some("network removed".into()),
    }
}
