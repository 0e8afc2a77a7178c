//! `dm reconcile`.

use std::time::Duration;

use clap::Args;
use dm_core::error::{ExitStatus, Result};
use dm_messaging::dead_letters::replay_audit;
use dm_operations::StackClients;
use dm_operations::reconcile;

use crate::context::Context;
use crate::views;

/// Check that every event was delivered.
///
/// Checks every event, from one snapshot of the database and the queues of the broker:
/// for each queue that is bound to it, the event is pending, in flight, processed or
/// dead-lettered. The queue of the read model has no consumer in the stack: for that queue, the
/// command shows how many events wait, and for how many the state is unknown. The invariants of
/// the business tables are checked in the same snapshot.
///
/// Exit code 1 if an event is missing, doubled or orphaned, or if an invariant is violated.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  dm reconcile
  dm reconcile --grace 1m
  dm reconcile --repair")]
pub(crate) struct Arguments {
    /// Republish each missing event to the queue where it is missing.
    #[arg(long)]
    repair: bool,
    /// Maximum time to wait for events in flight before the queues are read, e.g. `30s`.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    grace: Duration,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let (session, printer) = (&context.session, &context.printer);
    let clients = StackClients::open(session).await?;
    // Without --repair nothing is changed, so no lock is needed.
    let _guard = if arguments.repair {
        Some(
            session
                .lock(&clients.project, "dm reconcile --repair")
                .await?,
        )
    } else {
        None
    };
    let report =
        reconcile::reconcile_events(session, &clients, arguments.grace, arguments.repair).await?;
    let repair = session.complete_hint(views::reconcile::REPAIR_COMMAND);
    views::reconcile::print_report(printer, &report, Some(&repair))?;
    if report.is_clean() {
        return Ok(ExitStatus::Success);
    }
    // A dead letter that was replayed but not removed yet exists twice.
    for run in replay_audit::unfinished_runs(&clients.connect_database().await?).await? {
        printer.note(&format!(
            "replay run {run} has not ended; unless it is running, resume it: {}",
            session.dm_command(&format!("dlq replay --resume {run}"))
        ));
    }
    Ok(ExitStatus::Findings)
}
