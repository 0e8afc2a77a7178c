//! `dm down`.

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_operations::down::take_down;
use dm_stack::down::DownReport;
use dm_terminal::text;

use crate::context::Context;

/// Stop and remove the stack; keep its data.
///
/// Removes the containers and the network of the instance. The volumes, and so all data, stay
/// unless --volumes is given.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm down
  dm down --volumes
  dm down --instance review --volumes")]
pub(crate) struct Arguments {
    /// Remove the volumes as well; this deletes all data of the instance.
    #[arg(long)]
    volumes: bool,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let session = &context.session;
    let project = session.project()?;
    let _guard = session.lock(&project, "dm down").await?;
    let engine = session.engine(project.config()).await?;
    let report = take_down(session, &project, engine, arguments.volumes).await?;
    if context.printer.is_json() {
        context
            .printer
            .print_document(&dm_core::document::DOWN, &report)?;
        return Ok(ExitStatus::Success);
    }
    if let Some(sentence) = removal_sentence(&report) {
        context.printer.done(&sentence);
    }
    if !report.kept_volumes.is_empty() {
        context.printer.note(&format!(
            "the data of {} was kept; remove it: {}",
            report.kept_volumes.join(", "),
            session.dm_command("down --volumes")
        ));
    }
    Ok(ExitStatus::Success)
}

/// Returns a summary of the removed volumes and networks, which the run does not report.
fn removal_sentence(report: &DownReport) -> Option<String> {
    let volumes =
        (!report.volumes.is_empty()).then(|| text::pluralize(report.volumes.len(), "volume"));
    match (report.components.is_empty(), volumes) {
        (_, Some(volumes)) => Some(format!("{volumes} removed")),
        (false, None) => None,
        (true, None) if report.networks.is_empty() => Some("nothing to remove".into()),
        (true, None) => Some("network removed".into()),
    }
}
