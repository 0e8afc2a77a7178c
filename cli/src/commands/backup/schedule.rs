//! Backups when they are due, and which of them stay.

use std::time::Duration;

use super::super::context::{Context, Project};
use super::super::desk::Desk;
use super::{configured, create};
use crate::data::backup::{Keep, Listed, Purpose, Set, Store};
use crate::error::{Exit, Result};

/// How long after a backup that failed the next one is tried.
const RETRY: Duration = Duration::from_secs(60);

/// Makes backups until somebody interrupts.
pub(super) async fn run(
    context: &Context,
    project: &Project,
    store: &Store,
    every: Duration,
    keep: Keep,
) -> Result<Exit> {
    let printer = &context.printer;
    loop {
        let age = store.newest()?.map(|set| set.age());
        let wait = age.map_or(Duration::ZERO, |age| every.saturating_sub(age));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = context.interrupt.cancelled() => return Ok(Exit::Interrupted),
        }
        let made = async {
            let desk = Desk::of(context, context.project_of(&project.instance.name)?).await?;
            let _guard = context.lock(&desk.project, "dm backup schedule").await?;
            let recipients = configured(&desk.project)?;
            let set = create(context, &desk, store, &recipients, Purpose::Asked).await?;
            printer.done(&format!("{} is made", set.manifest.id));
            prune(context, store, keep, false)
        };
        match made.await {
            Ok(_) => {}
            Err(_) if context.interrupt.is_cancelled() => return Ok(Exit::Interrupted),
            Err(error) => {
                printer.warn(&format!("no backup: {}", error.chain().join(": ")));
                tokio::select! {
                    () = tokio::time::sleep(RETRY.min(every)) => {}
                    () = context.interrupt.cancelled() => return Ok(Exit::Interrupted),
                }
            }
        }
    }
}

pub(super) fn prune(context: &Context, store: &Store, keep: Keep, dry_run: bool) -> Result<Exit> {
    let sets: Vec<Set> = store
        .list()?
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Whole(set) => Some(*set),
            Listed::Broken(..) => None,
        })
        .collect();
    let leave = keep.leave(&sets);
    let printer = &context.printer;
    if !dry_run {
        store.sweep()?;
    }
    for set in &leave {
        if !dry_run {
            store.remove(set)?;
        }
        let word = if dry_run { "would go" } else { "is gone" };
        printer.note(&format!("{} {word}", set.manifest.id));
    }
    let (gone, stay) = (leave.len(), sets.len() - leave.len());
    printer.done(&format!("{gone} of {} backups go, {stay} stay", sets.len()));
    Ok(Exit::Success)
}
