//! Copies of dead letters, what is parked, and what is removed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use dm_core::error::{Exit, Result};
use dm_host::target::Target;
use dm_messaging::MessagingError;
use dm_messaging::dead::copy;
use dm_operations::{Desk, dead_letters};
use dm_terminal::text;

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
    let selection = which.selection()?;
    let target = if file == Path::new(STREAM) {
        Target::Stdout
    } else {
        Target::of(file).map_err(MessagingError::path("write", file))?
    };
    let letters = match target {
        Target::File => dead_letters::export(desk, &selection, file).await?,
        Target::Stream => {
            let (spool, letters) = dead_letters::spool(desk, &selection).await?;
            pour(spool, file).await?;
            letters
        }
        Target::Stdout => {
            let (spool, letters) = dead_letters::spool(desk, &selection).await?;
            print(context, spool)?;
            letters
        }
    };
    let what = count(letters);
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
    let imported = dead_letters::import(&context.session, desk, &parsed.lines).await?;
    let exit = told(context, &imported);
    Ok(if parsed.malformed.is_empty() {
        exit
    } else {
        Exit::Found
    })
}

/// Makes parked letters dead letters again.
pub(super) async fn unpark(context: &Context, desk: &Desk, ids: &[String]) -> Result<Exit> {
    let imported = dead_letters::unpark(&context.session, desk, ids).await?;
    Ok(told(context, &imported))
}

pub(super) async fn purge(
    context: &Context,
    desk: &Desk,
    file: &Path,
    which: Which,
    yes: bool,
) -> Result<Exit> {
    let target = Target::of(file).map_err(MessagingError::path("write", file))?;
    if file == Path::new(STREAM) || target != Target::File {
        return Err(MessagingError::CopyToStream.into());
    }
    let selection = which.selection()?;
    let removed = dead_letters::purge(&context.session, desk, &selection, file, yes).await?;
    let what = count(removed);
    context.printer.done(&format!("{what} removed"));
    Ok(Exit::Success)
}

pub(super) async fn park(
    context: &Context,
    desk: &Desk,
    which: Which,
    note: &str,
    yes: bool,
) -> Result<Exit> {
    let selection = which.selection()?;
    let parking = dead_letters::park(&context.session, desk, &selection, note, yes).await?;
    for (letter, why) in &parking.skipped {
        context
            .printer
            .warn(&super::render::not_parked(letter, why));
    }
    let what = count(parking.parked.len() as u64);
    let unpark = context.session.command("dlq unpark");
    context.printer.done(&format!(
        "{what} parked; return them to their queues: {unpark}"
    ));
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
        sentence.push_str(&format!("; {} existed already", imported.before));
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
    use std::io::{Seek as _, Write as _};

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
