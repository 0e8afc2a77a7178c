//! `dm restart`.

use std::sync::Arc;

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_stack::executor::{Emitter, Outcome};
use dm_stack::{Stack, restart, up};

use super::context::{Context, PortUse};
use super::run::{BringUp, show};

/// Stop components and bring them up again; their data stays.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The components; all where none is named.
    names: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let _guard = context.lock(&project, "dm restart").await?;
    let run = BringUp {
        command: "restart",
        project: &project,
        engine: context.engine(project.config()).await?,
        ports: PortUse::Existing,
        consent: context.consent(false),
        request: up::Request {
            only: arguments.names.clone(),
            wait: project.config().timeouts.wait.get(),
            golden: up::GoldenUse::Begin,
            kept: up::Kept::Ask,
        },
        bundle: None,
    };
    let stop = async |stack: &Arc<Stack>, emitter: &Emitter| {
        restart::stop(stack, &arguments.names, emitter).await?;
        Ok(Some(Outcome::default()))
    };
    let brought = run.after(context, stop).await?.complete()?;
    show(context, &brought).await?;
    Ok(Exit::Success)
}
