//! A set that proves itself in an instance of its own.

use chrono::Utc;
use dm_backup::{Extent, Opened};
use dm_components::{postgres, rabbitmq};
use dm_core::error::{Exit, Result};
use dm_messaging::reconcile::Report;

use super::super::context::{Context, PortUse, Project};
use super::super::desk::Desk;
use super::super::down;
use super::restore::{Ways, account, is_whole, start};
use crate::views;

/// What a scratch instance is called that a backup is proved in.
const SCRATCH: &str = "backup-proof";

/// Restores a set into an instance of its own, and compares.
pub(super) async fn run(context: &Context, opened: &Opened<'_>) -> Result<Exit> {
    let set = opened.set;
    let project = context.project_of(SCRATCH)?.without_schedule();
    let _guard = context.lock(&project, "dm backup verify").await?;
    let engine = context.engine(project.config()).await?;
    // What a killed call has left.
    down::take_down(context, &project, engine.clone(), true).await?;
    let proved = proof(context, &project, opened).await;
    // Whatever came of it, and also where it was interrupted.
    down::take_down(&context.undisturbed(), &project, engine, true).await?;
    let (report, is_whole) = proved?;
    let document = views::reconcile::Document::new(&report);
    let printer = &context.printer;
    printer.result(views::reconcile::SCHEMA, &document, |canvas| {
        views::reconcile::render(&report, canvas)
    })?;
    if !is_whole {
        return Ok(Exit::Found);
    }
    set.prove(Utc::now())?;
    printer.done(&format!(
        "{} was restored, each of its {} rows is there, and no event is missing",
        set.manifest.id,
        set.manifest.rows()
    ));
    Ok(Exit::Success)
}

/// The account of the events in the scratch instance, and whether nothing got lost.
async fn proof(
    context: &Context,
    project: &Project,
    opened: &Opened<'_>,
) -> Result<(Report, bool)> {
    let only: Vec<String> = [postgres::NAME, rabbitmq::NAME].map(str::to_owned).to_vec();
    let ports = PortUse::Allocate {
        free: true,
        only: &only,
    };
    start(context, project, "verify", ports, only.clone()).await?;
    let desk = Desk::of(context, context.project_of(SCRATCH)?.without_schedule()).await?;
    let ways = Ways::open(context, &desk).await?;
    let letters = ways.restore(opened, Extent::Whole).await?;
    // The account has the dead letters in hand itself.
    drop(ways);
    let report = account(context, &desk, "nothing is proved").await?;
    let is_whole = is_whole(&desk, &report, &letters).await?;
    Ok((report, is_whole))
}
