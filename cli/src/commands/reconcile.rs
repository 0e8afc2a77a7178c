//! `dm reconcile`.

use std::time::Duration;

use clap::Args;
use dm_core::error::{Exit, Result};
use dm_messaging::dead::audit;
use dm_messaging::memory;
use dm_messaging::reconcile::{self, Kind, Report, Site};

use super::context::Context;
use super::desk::Desk;
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
    let desk = Desk::open(context).await?;
    // An account alone changes nothing, and waits for nobody.
    let _guard = if arguments.repair {
        Some(context.lock(&desk.project, "dm reconcile --repair").await?)
    } else {
        None
    };
    let (stores, database) = (desk.stores(), desk.database().await?);
    let connection = desk.dead_letters().await?;
    let (browser, memory) = (desk.browser(), memory::of_services(desk.config()));
    let printer = &context.printer;
    let site = Site {
        stores: &stores,
        database: &database,
        connection: &connection,
        browser: &browser,
        memory: &memory,
        settle: arguments.settle,
        told: &|what| printer.note(what),
    };
    let mut report = reconcile::run(&site).await?;
    let missing = report.count(Kind::Missing);
    if arguments.repair && missing > 0 {
        let repaired = reconcile::repair(&site, &report.findings).await?;
        printer.note(&format!(
            "{repaired} of {missing} missing are published again"
        ));
        report = reconcile::run(&site).await?;
    }
    show(context, &report)?;
    if report.is_clean() {
        return Ok(Exit::Success);
    }
    // A letter that was published and not removed yet is there twice.
    for run in audit::unfinished(&database).await? {
        printer.note(&format!(
            "replay {run} has not ended; unless it is at work: {}",
            context.command(&format!("dlq replay --resume {run}"))
        ));
    }
    Ok(Exit::Found)
}

fn show(context: &Context, report: &Report) -> Result<()> {
    let document = views::reconcile::Document::new(report);
    context
        .printer
        .result(views::reconcile::SCHEMA, &document, |canvas| {
            views::reconcile::render(report, canvas)
        })?;
    Ok(())
}
