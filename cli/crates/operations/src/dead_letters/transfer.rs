//! Exports, imports, purges and parks dead letters.

use std::fs::File;
use std::io::{BufWriter, Seek as _};
use std::path::Path;

use dm_core::error::Result;
use dm_core::units::pluralize;
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::failure_records::Resolution;
use dm_messaging::dead_letters::import_export::{ImportSummary, LetterCounts, ParsedLines};
use dm_messaging::dead_letters::json_line::DeadLetterLine;
use dm_messaging::dead_letters::parking::ParkSummary;
use dm_messaging::dead_letters::{DeadLetter, FailureRecords, browse, import_export, parking};
use lapin::Connection;

use super::DeadLetterSelection;
use crate::session::{Session, StackClients};

/// Fails if the file exists. Operations check this before they change anything.
///
/// # Errors
/// Returns the error of [`MessagingError::file_access`] with `AlreadyExists`.
fn refuse_existing(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_ok() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(MessagingError::file_access("write", file)(exists).into());
    }
    Ok(())
}

/// Exports dead letters to a new file, which is complete or not created. Returns the number of
/// letters.
///
/// # Errors
/// If the broker cannot be reached, an id matches no dead letter, or the file exists or cannot
/// be written.
pub async fn export(
    clients: &StackClients,
    selection: &DeadLetterSelection,
    file: &Path,
) -> Result<u64> {
    refuse_existing(file)?;
    let connection = clients.lock_dead_letters().await?;
    browse::for_each_requested(&connection, &selection.queues, &selection.filter, |_| {}).await?;
    Ok(write_export(&connection, selection, file).await?.total())
}

/// Exports dead letters to an unnamed file, which is removed when its handle is closed.
/// Returns the file, positioned at its start, and the number of letters.
///
/// # Errors
/// If the broker cannot be reached, an id matches no dead letter, or the disk is full.
pub async fn export_to_temp_file(
    clients: &StackClients,
    selection: &DeadLetterSelection,
) -> Result<(File, u64)> {
    let connection = clients.lock_dead_letters().await?;
    let DeadLetterSelection { queues, filter } = selection;
    browse::for_each_requested(&connection, queues, filter, |_| {}).await?;
    let mut spool = tempfile::tempfile().map_err(MessagingError::from)?;
    let letters =
        import_export::export(&connection, queues, filter, BufWriter::new(&spool)).await?;
    spool.rewind().map_err(MessagingError::from)?;
    Ok((spool, letters.total()))
}

/// Imports exported dead letters into their dead-letter queues. Warns about each malformed line.
/// `file` is the name of the file in texts.
///
/// # Errors
/// Returns [`MessagingError::NoValidLine`], without any change, if every line is malformed. Fails
/// if the lock is not released in time or the broker cannot be reached. Some of the letters may
/// have been imported.
pub async fn import(
    session: &Session,
    clients: &StackClients,
    file: &str,
    parsed: &ParsedLines,
) -> Result<ImportSummary> {
    let lines = valid_lines(file, parsed)?;
    for error in &parsed.malformed {
        session.frontend.warn(&format!("{file}: {error}"));
    }
    let _guard = session.lock(&clients.project, "dm dlq import").await?;
    let connection = clients.lock_dead_letters().await?;
    let imported = import_export::import(&connection, lines).await?;
    update_records(session, clients, &imported.letters, None).await;
    Ok(imported)
}

/// Returns the lines to import. An empty file is imported, a file of malformed lines only is not.
fn valid_lines<'p>(
    file: &str,
    parsed: &'p ParsedLines,
) -> Result<&'p [DeadLetterLine], MessagingError> {
    match (parsed.lines.as_slice(), parsed.malformed.first()) {
        ([], Some(first)) => Err(MessagingError::NoValidLine {
            file: file.to_owned(),
            first_error: first.to_string(),
        }),
        (lines, _) => Ok(lines),
    }
}

/// Moves parked messages back to their dead-letter queues.
///
/// # Errors
/// If the lock is not released in time, the broker or the database cannot be reached, or an id
/// matches no parked message.
pub async fn unpark(
    session: &Session,
    clients: &StackClients,
    ids: &[String],
) -> Result<ImportSummary> {
    let _guard = session.lock(&clients.project, "dm dlq unpark").await?;
    let (connection, database) = (
        clients.lock_dead_letters().await?,
        clients.connect_database().await?,
    );
    let imported = parking::unpark(&connection, &database, ids).await?;
    update_records(session, clients, &imported.letters, None).await;
    Ok(imported)
}

/// Exports dead letters to a new file and then removes them. Returns the number of removed
/// letters.
///
/// # Errors
/// If the lock is not released in time, the operation is not confirmed, the broker cannot be
/// reached, or the file exists or cannot be written.
pub async fn purge(
    session: &Session,
    clients: &StackClients,
    selection: &DeadLetterSelection,
    file: &Path,
    yes: bool,
) -> Result<u64> {
    refuse_existing(file)?;
    let _guard = session.lock(&clients.project, "dm dlq purge").await?;
    let connection = clients.lock_dead_letters().await?;
    let count = count_selected(&connection, selection).await?;
    if count == 0 {
        return Ok(0);
    }
    let question = format!(
        "Remove {}, with a copy in {}?",
        pluralize(count, "dead letter"),
        file.display()
    );
    confirm(session, &question, count, yes)?;
    // Letters that arrived meanwhile are exported, too: exactly the exported ones are removed.
    let exported = write_export(&connection, selection, file).await?;
    let removed = import_export::remove(&connection, &selection.queues, exported).await?;
    update_records(session, clients, &removed, Some(Resolution::Purged)).await;
    Ok(removed.len() as u64)
}

/// Moves dead letters from their queues to the database.
///
/// # Errors
/// If the lock is not released in time, the operation is not confirmed, or the broker or the
/// database cannot be reached.
pub async fn park(
    session: &Session,
    clients: &StackClients,
    selection: &DeadLetterSelection,
    note: &str,
    yes: bool,
) -> Result<ParkSummary> {
    let _guard = session.lock(&clients.project, "dm dlq park").await?;
    let (connection, database) = (
        clients.lock_dead_letters().await?,
        clients.connect_database().await?,
    );
    let count = count_selected(&connection, selection).await?;
    if count > 0 {
        confirm(
            session,
            &format!("Park {}?", pluralize(count, "dead letter")),
            count,
            yes,
        )?;
    }
    let DeadLetterSelection { queues, filter } = selection;
    let summary = parking::park(&connection, &database, queues, filter, note).await?;
    update_records(session, clients, &summary.parked, Some(Resolution::Parked)).await;
    Ok(summary)
}

async fn count_selected(connection: &Connection, selection: &DeadLetterSelection) -> Result<u64> {
    let mut count = 0;
    let DeadLetterSelection { queues, filter } = selection;
    browse::for_each_requested(connection, queues, filter, |_| count += 1).await?;
    Ok(count)
}

fn confirm(session: &Session, question: &str, count: u64, yes: bool) -> Result<()> {
    if session.is_confirmed(yes, question)? {
        return Ok(());
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Err(MessagingError::NotConfirmed(count).into())
}

/// Exports to a temporary file that is renamed once it is complete.
async fn write_export(
    connection: &Connection,
    selection: &DeadLetterSelection,
    file: &Path,
) -> Result<LetterCounts> {
    let directory = file
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let write_error = || MessagingError::file_access("write", file);
    let mut partial = tempfile::NamedTempFile::new_in(directory).map_err(write_error())?;
    let DeadLetterSelection { queues, filter } = selection;
    let letters =
        import_export::export(connection, queues, filter, BufWriter::new(&mut partial)).await?;
    partial.as_file().sync_all().map_err(write_error())?;
    partial
        .persist_noclobber(file)
        .map_err(|error| write_error()(error.error))?;
    // The directory entry must be on disk as well before any letter is removed.
    let directory = File::open(directory).map_err(write_error())?;
    directory.sync_all().map_err(write_error())?;
    Ok(letters)
}

/// Resolves the failure records of removed dead letters, or reopens those of restored ones if
/// `resolution` is `None`. If that fails, the next `dm dlq ls` corrects the records.
async fn update_records(
    session: &Session,
    clients: &StackClients,
    letters: &[DeadLetter],
    resolution: Option<Resolution>,
) {
    let update = async {
        let (database, service_tables) =
            (clients.connect_database().await?, clients.service_tables());
        let records = FailureRecords {
            database: &database,
            service_tables: &service_tables,
        };
        match resolution {
            Some(resolution) => records.resolve(letters, resolution).await?,
            None => records.reopen(letters).await?,
        }
        Result::<()>::Ok(())
    };
    if let Err(error) = update.await {
        let reason = error.error_chain().join(": ");
        session.frontend.warn(&format!(
            "could not update the records of dead letters: {reason}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_lines_fails_only_if_every_line_is_malformed() {
        let letter = r#"{"queue": "inventory.order-events.q", "properties": {}, "body": "e30="}"#;
        let count_lines = |text: &str| {
            let parsed = import_export::read_lenient(text.as_bytes()).unwrap();
            let lines = valid_lines("letters.jsonl", &parsed);
            lines.map(<[_]>::len).map_err(|error| error.to_string())
        };
        assert_eq!(count_lines(""), Ok(0));
        assert_eq!(count_lines(letter), Ok(1));
        assert_eq!(count_lines(&format!("no letter\n{letter}\n")), Ok(1));
        let error = count_lines("no letter\n{}\n").unwrap_err();
        assert!(
            error.starts_with("letters.jsonl contains no dead letter: line 1 "),
            "{error}"
        );
    }
}
