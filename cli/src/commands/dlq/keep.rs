//! Copies of dead letters, what is parked, and what is removed.

use std::collections::HashSet;
use std::io::BufWriter;
use std::path::Path;

use lapin::Connection;

use super::Which;
use crate::commands::context::Context;
use crate::commands::desk::Desk;
use crate::error::{Exit, Result};
use crate::messaging::MessagingError;
use crate::messaging::dead::{Filter, copy, look, parked};
use crate::output::text;

/// Writes a copy that is complete, or none.
pub(super) async fn save(
    connection: &Connection,
    file: &Path,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<HashSet<String>> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut partial = tempfile::NamedTempFile::new_in(folder).map_err(MessagingError::from)?;
    let letters = copy::export(connection, queues, filter, BufWriter::new(&mut partial)).await?;
    partial.as_file().sync_all().map_err(MessagingError::from)?;
    partial
        .persist_noclobber(file)
        .map_err(|error| MessagingError::from(error.error))?;
    Ok(letters)
}

pub(super) async fn purge(
    context: &Context,
    desk: &Desk,
    file: &Path,
    which: Which,
    yes: bool,
) -> Result<Exit> {
    let printer = &context.printer;
    let (queues, filter) = (which.queues()?, which.filter());
    let _guard = context.lock(&desk.project, "dm dlq purge").await?;
    let connection = desk.dead_letters().await?;
    let mut count = 0;
    look::each(&connection, &queues, &filter, |_| count += 1).await?;
    let what = text::count(count, "dead letter");
    if count > 0 {
        let question = format!("Remove {what}, with a copy in {}?", file.display());
        confirm(context, &question, count, yes)?;
        // What came meanwhile is copied, too: exactly what is copied is removed.
        let letters = save(&connection, file, &queues, &filter).await?;
        copy::remove(&connection, &queues, &letters).await?;
    }
    printer.done(&format!("{what} removed"));
    Ok(Exit::Success)
}

/// Asks before letters are taken away.
fn confirm(context: &Context, question: &str, count: usize, yes: bool) -> Result<()> {
    let printer = &context.printer;
    if yes || (printer.can_ask() && printer.confirm(question)?) {
        Ok(())
    } else {
        Err(MessagingError::NotConfirmed(count).into())
    }
}

pub(super) async fn park(
    context: &Context,
    desk: &Desk,
    which: Which,
    note: &str,
    yes: bool,
) -> Result<Exit> {
    let (queues, filter) = (which.queues()?, which.filter());
    let _guard = context.lock(&desk.project, "dm dlq park").await?;
    let (connection, database) = (desk.dead_letters().await?, desk.database().await?);
    let mut count = 0;
    look::each(&connection, &queues, &filter, |_| count += 1).await?;
    if count > 0 {
        let question = format!("Park {}?", text::count(count, "dead letter"));
        confirm(context, &question, count, yes)?;
    }
    let parked = parked::park(&connection, &database, &queues, &filter, note).await?;
    let what = text::count(usize::try_from(parked).unwrap_or(usize::MAX), "dead letter");
    context
        .printer
        .done(&format!("{what} parked; dm dlq unpark puts them back"));
    Ok(Exit::Success)
}

/// Says what became of letters that were to be put back.
pub(super) fn told(context: &Context, imported: &copy::Imported) -> Exit {
    let all = imported.there + imported.before + imported.refused;
    let mut sentence = format!("{} of {all} are dead letters again", imported.there);
    if imported.before > 0 {
        sentence.push_str(&format!("; {} were there already", imported.before));
    }
    if imported.refused > 0 {
        context.printer.warn(&sentence);
        return Exit::Found;
    }
    context.printer.done(&sentence);
    Exit::Success
}
