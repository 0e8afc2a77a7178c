//! Dead letters are copied, removed, parked and put back.

use std::fs::File;
use std::io::{BufWriter, Seek as _};
use std::path::Path;

use dm_core::error::Result;
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::failure_records::Resolution;
use dm_messaging::dead_letters::import_export::{ImportSummary, LetterCounts};
use dm_messaging::dead_letters::json_line::DeadLetterLine;
use dm_messaging::dead_letters::parking::ParkSummary;
use dm_messaging::dead_letters::{
    DeadLetter, DeadLetterFilter, FailureRecords, browse, import_export, parking,
};
use lapin::Connection;

use crate::session::{Session, StackClients};

/// Which dead letters an operation is about.
#[derive(Debug, Clone)]
pub struct DeadLetterSelection {
    /// The dead-letter queues.
    pub queues: Vec<&'static str>,
    /// Which of their letters.
    pub filter: DeadLetterFilter,
}

/// Refuses a file that exists. An operation asks before it does anything.
///
/// # Errors
/// [`MessagingError::Path`] with `AlreadyExists`.
pub(crate) fn refuse_existing(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_ok() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(MessagingError::file_access("write", file)(exists).into());
    }
    Ok(())
}

/// Writes a copy of dead letters to a new file: a complete one, or none. Returns how many
/// letters it holds.
///
/// # Errors
/// The broker is away; an id that is no letter's; a file that exists or can't be written.
pub async fn export(
    desk: &StackClients,
    selection: &DeadLetterSelection,
    file: &Path,
) -> Result<u64> {
    refuse_existing(file)?;
    let connection = desk.lock_dead_letters().await?;
    browse::for_each_requested(&connection, &selection.queues, &selection.filter, |_| {}).await?;
    Ok(write_export(&connection, selection, file).await?.total())
}

/// Writes a copy of dead letters to a file without a name, which ends with its handle.
/// Returns it, to be read from its beginning, and how many letters it holds.
///
/// # Errors
/// The broker is away; an id that is no letter's; no room for the file.
pub async fn export_to_temp_file(
    desk: &StackClients,
    selection: &DeadLetterSelection,
) -> Result<(File, u64)> {
    let connection = desk.lock_dead_letters().await?;
    let DeadLetterSelection { queues, filter } = selection;
    browse::for_each_requested(&connection, queues, filter, |_| {}).await?;
    let mut spool = tempfile::tempfile().map_err(MessagingError::from)?;
    let letters =
        import_export::export(&connection, queues, filter, BufWriter::new(&spool)).await?;
    spool.rewind().map_err(MessagingError::from)?;
    Ok((spool, letters.total()))
}

/// Puts copies of dead letters back into their dead-letter queues.
///
/// # Errors
/// The lock stays taken; the broker is away: some of them may be there.
pub async fn import(
    session: &Session,
    desk: &StackClients,
    lines: &[DeadLetterLine],
) -> Result<ImportSummary> {
    let _guard = session.lock(&desk.project, "dm dlq import").await?;
    let connection = desk.lock_dead_letters().await?;
    let imported = import_export::import(&connection, lines).await?;
    update_records(session, desk, &imported.letters, None).await;
    Ok(imported)
}

/// Makes parked letters dead letters again.
///
/// # Errors
/// The lock stays taken; the broker or the database is away; an id that is no letter's.
pub async fn unpark(
    session: &Session,
    desk: &StackClients,
    ids: &[String],
) -> Result<ImportSummary> {
    let _guard = session.lock(&desk.project, "dm dlq unpark").await?;
    let (connection, database) = (
        desk.lock_dead_letters().await?,
        desk.connect_database().await?,
    );
    let imported = parking::unpark(&connection, &database, ids).await?;
    update_records(session, desk, &imported.letters, None).await;
    Ok(imported)
}

/// Removes dead letters, each of which is in a new file first. Returns how many.
///
/// # Errors
/// The lock stays taken; the operation is not confirmed; the broker is away; a file that exists or can't
/// be written.
pub async fn purge(
    session: &Session,
    desk: &StackClients,
    selection: &DeadLetterSelection,
    file: &Path,
    yes: bool,
) -> Result<u64> {
    refuse_existing(file)?;
    let _guard = session.lock(&desk.project, "dm dlq purge").await?;
    let connection = desk.lock_dead_letters().await?;
    let found = count_selected(&connection, selection).await?;
    if found == 0 {
        return Ok(0);
    }
    let what = format!(
        "Remove {}, with a copy in {}?",
        format_letter_count(found),
        file.display()
    );
    confirm(session, &what, found, yes)?;
    // Letters that came meanwhile are copied, too: exactly what is copied is removed.
    let copied = write_export(&connection, selection, file).await?;
    let removed = import_export::remove(&connection, &selection.queues, copied).await?;
    update_records(session, desk, &removed, Some(Resolution::Purged)).await;
    Ok(removed.len() as u64)
}

/// Takes dead letters out of their queues and keeps them in the database.
///
/// # Errors
/// The lock stays taken; the operation is not confirmed; the broker or the database is away.
pub async fn park(
    session: &Session,
    desk: &StackClients,
    selection: &DeadLetterSelection,
    note: &str,
    yes: bool,
) -> Result<ParkSummary> {
    let _guard = session.lock(&desk.project, "dm dlq park").await?;
    let (connection, database) = (
        desk.lock_dead_letters().await?,
        desk.connect_database().await?,
    );
    let found = count_selected(&connection, selection).await?;
    if found > 0 {
        confirm(
            session,
            &format!("Park {}?", format_letter_count(found)),
            found,
            yes,
        )?;
    }
    let DeadLetterSelection { queues, filter } = selection;
    let parking = parking::park(&connection, &database, queues, filter, note).await?;
    update_records(session, desk, &parking.parked, Some(Resolution::Parked)).await;
    Ok(parking)
}

async fn count_selected(connection: &Connection, selection: &DeadLetterSelection) -> Result<u64> {
    let mut found = 0;
    let DeadLetterSelection { queues, filter } = selection;
    browse::for_each_requested(connection, queues, filter, |_| found += 1).await?;
    Ok(found)
}

fn format_letter_count(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} dead letter{plural}")
}

fn confirm(session: &Session, question: &str, count: u64, yes: bool) -> Result<()> {
    if session.is_confirmed(yes, question)? {
        return Ok(());
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    Err(MessagingError::NotConfirmed(count).into())
}

/// Writes a copy that is complete, or none.
async fn write_export(
    connection: &Connection,
    selection: &DeadLetterSelection,
    file: &Path,
) -> Result<LetterCounts> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let failed = || MessagingError::file_access("write", file);
    let mut partial = tempfile::NamedTempFile::new_in(folder).map_err(failed())?;
    let DeadLetterSelection { queues, filter } = selection;
    let letters =
        import_export::export(connection, queues, filter, BufWriter::new(&mut partial)).await?;
    partial.as_file().sync_all().map_err(failed())?;
    partial
        .persist_noclobber(file)
        .map_err(|error| failed()(error.error))?;
    // Its name is on the disk, too, before any letter is removed.
    let folder = File::open(folder).map_err(failed())?;
    folder.sync_all().map_err(failed())?;
    Ok(letters)
}

/// Notes in the records of consumers what took letters away, or that they are there. What
/// can't be noted is found by the next `dm dlq ls`.
async fn update_records(
    session: &Session,
    desk: &StackClients,
    letters: &[DeadLetter],
    how: Option<Resolution>,
) {
    let noted = async {
        let (database, stores) = (desk.connect_database().await?, desk.stores());
        let records = FailureRecords {
            database: &database,
            service_tables: &stores,
        };
        match how {
            Some(how) => records.resolve(letters, how).await?,
            None => records.reopen(letters).await?,
        }
        Result::<()>::Ok(())
    };
    if let Err(error) = noted.await {
        let why = error.error_chain().join(": ");
        session.frontend.warn(&format!(
            "could not update the records of dead letters: {why}"
        ));
    }
}
