//! Copies of dead letters, what is parked, and what is removed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _};
use std::path::Path;

use dm_core::error::{Exit, Result};
use dm_host::target::Target;
use dm_messaging::MessagingError;
use dm_messaging::dead::copy::Letters;
use dm_messaging::dead::records::Resolution;
use dm_messaging::dead::{DeadLetter, Filter, Records, copy, look, parked};
use dm_operations::Desk;
use dm_terminal::text;
use lapin::Connection;

use super::Which;
use crate::context::Context;

/// What stands for stdin, and for stdout.
const STREAM: &str = "-";

/// How much is written to stdout at a time.
const PORTION: usize = 256 * 1024;

/// Writes a copy to a file or to stdout, and says how many it is of.
pub(super) async fn export(
    context: &Context,
    desk: &Desk,
    file: &Path,
    which: Which,
) -> Result<Exit> {
    let (queues, filter) = (which.queues()?, which.filter());
    let target = if file == Path::new(STREAM) {
        Target::Stdout
    } else {
        Target::of(file).map_err(MessagingError::path("write", file))?
    };
    if target == Target::File {
        refuse_existing(file)?;
    }
    let connection = desk.dead_letters().await?;
    look::chosen(&connection, &queues, &filter, |_| {}).await?;
    let letters = if target == Target::File {
        save(&connection, file, &queues, &filter).await?
    } else {
        let mut spool = tempfile::tempfile().map_err(MessagingError::from)?;
        let letters = copy::export(&connection, &queues, &filter, BufWriter::new(&spool)).await?;
        spool.rewind().map_err(MessagingError::from)?;
        match target {
            Target::Stream => pour(spool, file).await?,
            _ => print(context, spool)?,
        }
        letters
    };
    let what = count(letters.count());
    let place = if target == Target::Stdout {
        "stdout".to_owned()
    } else {
        file.display().to_string()
    };
    context.printer.done(&format!("{what} written to {place}"));
    Ok(Exit::Success)
}

fn print(context: &Context, spool: File) -> Result<()> {
    let mut spool = BufReader::new(spool);
    let mut portion = String::new();
    loop {
        let read = spool
            .read_line(&mut portion)
            .map_err(MessagingError::from)?;
        if read == 0 || portion.len() >= PORTION {
            context.printer.data(&portion)?;
            portion.clear();
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Writes to a pipe or to a device, as it is. A pipe may have no reader yet: the wait for one
/// must not hold up an interrupt.
async fn pour(mut spool: File, to: &Path) -> Result<()> {
    let failed = MessagingError::path("write", to);
    let to = to.to_owned();
    let poured = tokio::task::spawn_blocking(move || {
        let mut stream = OpenOptions::new().write(true).open(&to)?;
        std::io::copy(&mut spool, &mut stream)
    });
    let poured = poured.await.map_err(std::io::Error::other).flatten();
    poured.map_err(failed)?;
    Ok(())
}

/// Writes a copy that is complete, or none.
async fn save(
    connection: &Connection,
    file: &Path,
    queues: &[&'static str],
    filter: &Filter,
) -> Result<Letters> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let failed = || MessagingError::path("write", file);
    let mut partial = tempfile::NamedTempFile::new_in(folder).map_err(failed())?;
    let letters = copy::export(connection, queues, filter, BufWriter::new(&mut partial)).await?;
    partial.as_file().sync_all().map_err(failed())?;
    partial
        .persist_noclobber(file)
        .map_err(|error| failed()(error.error))?;
    // Its name is on the disk, too, before any letter is removed.
    let folder = File::open(folder).map_err(failed())?;
    folder.sync_all().map_err(failed())?;
    Ok(letters)
}

/// Says so before anything is done.
fn refuse_existing(file: &Path) -> Result<()> {
    if file.symlink_metadata().is_ok() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(MessagingError::path("write", file)(exists).into());
    }
    Ok(())
}

/// Puts the letters of a file, or of stdin, back among the dead.
pub(super) async fn import(context: &Context, desk: &Desk, file: &Path) -> Result<Exit> {
    let (name, parsed) = if file == Path::new(STREAM) {
        let parsed = copy::read(std::io::stdin().lock());
        ("stdin".to_owned(), parsed.map_err(MessagingError::from)?)
    } else {
        let failed = || MessagingError::path("read", file);
        let opened = File::open(file).map_err(failed())?;
        let parsed = copy::read(BufReader::new(opened)).map_err(failed())?;
        (file.display().to_string(), parsed)
    };
    if let ([], Some(first)) = (parsed.lines.as_slice(), parsed.malformed.first()) {
        return Err(MessagingError::NoLetters {
            file: name,
            first: first.to_string(),
        }
        .into());
    }
    for error in &parsed.malformed {
        context.printer.warn(&format!("{name}: {error}"));
    }
    let _guard = context.session.lock(&desk.project, "dm dlq import").await?;
    let connection = desk.dead_letters().await?;
    let imported = copy::import(&connection, &parsed.lines).await?;
    record(context, desk, &imported.letters, None).await;
    let exit = told(context, &imported);
    Ok(if parsed.malformed.is_empty() {
        exit
    } else {
        Exit::Found
    })
}

/// Makes parked letters dead letters again.
pub(super) async fn unpark(context: &Context, desk: &Desk, ids: &[String]) -> Result<Exit> {
    let _guard = context.session.lock(&desk.project, "dm dlq unpark").await?;
    let (connection, database) = (desk.dead_letters().await?, desk.database().await?);
    let imported = parked::unpark(&connection, &database, ids).await?;
    record(context, desk, &imported.letters, None).await;
    Ok(told(context, &imported))
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
    if file == Path::new(STREAM) {
        return Err(MessagingError::CopyToStream.into());
    }
    match Target::of(file).map_err(MessagingError::path("write", file))? {
        Target::File => refuse_existing(file)?,
        Target::Stdout | Target::Stream => return Err(MessagingError::CopyToStream.into()),
    }
    let _guard = context.session.lock(&desk.project, "dm dlq purge").await?;
    let connection = desk.dead_letters().await?;
    let mut found = 0;
    look::chosen(&connection, &queues, &filter, |_| found += 1).await?;
    let mut removed = 0;
    if found > 0 {
        let what = count(found);
        let question = format!("Remove {what}, with a copy in {}?", file.display());
        confirm(context, &question, found, yes)?;
        // What came meanwhile is copied, too: exactly what is copied is removed.
        let letters = save(&connection, file, &queues, &filter).await?;
        let letters = copy::remove(&connection, &queues, letters).await?;
        record(context, desk, &letters, Some(Resolution::Purged)).await;
        removed = letters.len() as u64;
    }
    printer.done(&format!("{} removed", count(removed)));
    Ok(Exit::Success)
}

/// Notes in the records of consumers what took letters away, or that they are there. What
/// can't be noted is found by the next `dm dlq ls`.
async fn record(context: &Context, desk: &Desk, letters: &[DeadLetter], how: Option<Resolution>) {
    let noted = async {
        let (database, stores) = (desk.database().await?, desk.stores());
        let records = Records {
            database: &database,
            stores: &stores,
        };
        match how {
            Some(how) => records.resolve(letters, how).await?,
            None => records.reopen(letters).await?,
        }
        Result::<()>::Ok(())
    };
    if let Err(error) = noted.await {
        let why = error.chain().join(": ");
        context
            .printer
            .warn(&format!("the records of dead letters are behind: {why}"));
    }
}

/// Asks before letters are taken away.
fn confirm(context: &Context, question: &str, count: u64, yes: bool) -> Result<()> {
    let printer = &context.printer;
    if yes || (printer.can_ask() && printer.confirm(question)?) {
        Ok(())
    } else {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
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
    let _guard = context.session.lock(&desk.project, "dm dlq park").await?;
    let (connection, database) = (desk.dead_letters().await?, desk.database().await?);
    let mut found = 0;
    look::chosen(&connection, &queues, &filter, |_| found += 1).await?;
    if found > 0 {
        let question = format!("Park {}?", count(found));
        confirm(context, &question, found, yes)?;
    }
    let parking = parked::park(&connection, &database, &queues, &filter, note).await?;
    record(context, desk, &parking.parked, Some(Resolution::Parked)).await;
    for (letter, why) in &parking.skipped {
        context
            .printer
            .warn(&super::render::not_parked(letter, why));
    }
    let what = count(parking.parked.len() as u64);
    let unpark = context.session.command("dlq unpark");
    context
        .printer
        .done(&format!("{what} parked; {unpark} puts them back"));
    Ok(if parking.skipped.is_empty() {
        Exit::Success
    } else {
        Exit::Found
    })
}

/// Says what became of letters that were to be put back.
fn told(context: &Context, imported: &copy::Imported) -> Exit {
    let mut sentence = format!(
        "{} of {} are dead letters again",
        imported.there,
        imported.all()
    );
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

fn count(letters: u64) -> String {
    text::count(
        usize::try_from(letters).unwrap_or(usize::MAX),
        "dead letter",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_pipe_gets_all_of_it_and_stays_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(Target::of(&pipe).unwrap(), Target::Stream);
        let mut spool = tempfile::tempfile().unwrap();
        spool.write_all(b"{}\n{}\n").unwrap();
        spool.rewind().unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read_to_string(pipe).unwrap()
        });
        pour(spool, &pipe).await.unwrap();
        assert_eq!(reader.join().unwrap(), "{}\n{}\n");
        assert_eq!(Target::of(&pipe).unwrap(), Target::Stream);
    }
}
