//! `dm reconcile`.

use std::time::Duration;

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_messaging::dead::audit;
use dm_operations::Desk;
use dm_operations::reconcile;

use crate::context::Context;
use crate::views;

/// Account for every event, and prove that nothing is missing.
///
/// From one snapshot of the database and the broker's queues: for every queue that takes
/// it an event is pending, in flight, consumed or dead. Of the read model's queue, which no
/// service here consumes, it says how many wait, and of how many it can't tell. The laws of
/// the business tables are checked in the same snapshot. Exit code 1 where anything is
/// missing, doubled or orphaned, or a law is broken.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Publish what is missing again, each event to the one queue where it is missing.
    #[arg(long)]
    repair: bool,
    /// How long what is in flight may take to arrive, before queues are looked into.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    settle: Duration,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let (session, printer) = (&context.session, &context.printer);
    let desk = Desk::open(session).await?;
    // An account alone changes nothing, and waits for nobody.
    let _guard = if arguments.repair {
        Some(session.lock(&desk.project, "dm reconcile --repair").await?)
    } else {
        None
    };
    let report = reconcile::account(session, &desk, arguments.settle, arguments.repair).await?;
    views::reconcile::show(printer, &report)?;
    if report.is_clean() {
        return Ok(Exit::Success);
    }
    // A letter that was published and not removed yet is there twice.
    for run in audit::unfinished(&desk.database().await?).await? {
        printer.note(&format!(
            "replay {run} has not ended; unless it is at work: {}",
            session.command(&format!("dlq replay --resume {run}"))
        ));
    }
    Ok(Exit::Found)
}
