//! `dm restart`.

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_operations::restart::restart;

use crate::context::Context;
use crate::views;

/// Stop components and bring them up again; their data stays.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The components; all where none is named.
    names: Vec<String>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let session = &context.session;
    let project = session.project()?;
    let _guard = session.lock(&project, "dm restart").await?;
    let restarted = restart(session, &project, &arguments.names).await?;
    let brought = restarted.complete()?;
    let rows = brought.status().await?;
    views::status::show(&context.printer, &brought.stack.instance.name, &rows)?;
    Ok(Exit::Success)
}
