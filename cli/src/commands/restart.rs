//! `dm restart`.

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_operations::restart::restart;

use crate::context::Context;
use crate::views;

/// Restart components; keep their data.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm restart
  dm restart keycloak gateway")]
pub(crate) struct Arguments {
    /// Components to restart [default: all].
    #[arg(value_name = "COMPONENT")]
    names: Vec<String>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let project = session.project()?;
    let _guard = session.lock(&project, "dm restart").await?;
    let run = restart(session, &project, &arguments.names).await?;
    let run = run.into_result()?;
    let rows = run.status().await?;
    views::status::print(&context.printer, &run.stack.instance.name, &rows)?;
    Ok(ExitStatus::Success)
}
