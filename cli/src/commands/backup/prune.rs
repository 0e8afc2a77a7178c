//! `dm backup prune`.

use chrono::Utc;
use dm_backup::{BackupError, Keep, Listed, Store, Verdict};
use dm_core::error::{Exit, Result};
use dm_terminal::Printer;

use super::super::context::{Context, Project};

/// What is asked for.
pub(super) struct Request {
    /// Which backups stay.
    pub(super) keep: Keep,
    /// Remove nothing.
    pub(super) dry_run: bool,
    /// Don't ask.
    pub(super) yes: bool,
}

pub(super) async fn run(
    context: &Context,
    project: &Project,
    store: &Store,
    request: &Request,
) -> Result<Exit> {
    let (verdicts, unreadable) = judge(store, request.keep)?;
    let printer = &context.printer;
    let document = super::retention::Document::new(&verdicts, &unreadable, request.dry_run);
    printer.result(super::retention::SCHEMA, &document, |canvas| {
        super::retention::render(&verdicts, &unreadable, canvas)
    })?;
    let going: Vec<&Verdict> = verdicts.iter().filter(|it| it.goes()).collect();
    if request.dry_run {
        return Ok(Exit::Success);
    }
    if !going.is_empty() {
        confirm(printer, project, going.len(), request.yes)?;
    }
    let _guard = context.lock(project, "dm backup prune").await?;
    store.sweep()?;
    // What was made, restored or removed since it was asked for may have changed it: only
    // what went then and goes now does.
    let (again, _) = judge(store, request.keep)?;
    let mut gone = 0;
    for verdict in again.iter().filter(|it| it.goes()) {
        if going.iter().any(|it| it.set.path == verdict.set.path) {
            remove(printer, store, verdict)?;
            gone += 1;
        }
    }
    let stay = again.len() - gone;
    printer.done(&format!("{gone} backups are gone, {stay} stay"));
    Ok(Exit::Success)
}

/// Removes what goes, in the course of a schedule.
pub(super) fn quietly(printer: &Printer, store: &Store, keep: Keep) -> Result<()> {
    store.sweep()?;
    let (verdicts, _) = judge(store, keep)?;
    for verdict in verdicts.iter().filter(|it| it.goes()) {
        remove(printer, store, verdict)?;
    }
    Ok(())
}

fn remove(printer: &Printer, store: &Store, verdict: &Verdict) -> Result<()> {
    let id = &verdict.set.manifest.id;
    printer.note(&format!("removing {id}"));
    store.remove(&verdict.set)?;
    Ok(())
}

/// What becomes of each backup, and those that can't be read.
fn judge(store: &Store, keep: Keep) -> Result<(Vec<Verdict>, Vec<String>)> {
    let (mut sets, mut unreadable) = (Vec::new(), Vec::new());
    for listed in store.list()? {
        match listed {
            Listed::Whole(set) => sets.push(*set),
            Listed::Broken(name, _) => unreadable.push(name),
        }
    }
    let verdicts = keep.judge(&sets, Utc::now(), |set| set.check().is_ok());
    Ok((verdicts, unreadable))
}

fn confirm(printer: &Printer, project: &Project, count: usize, yes: bool) -> Result<()> {
    let instance = &project.instance.name;
    let question = format!("remove {count} backups of instance `{instance}`?");
    if yes || (printer.can_ask() && printer.confirm(&question)?) {
        Ok(())
    } else {
        Err(BackupError::PruneNotConfirmed(count).into())
    }
}
