//! Copies of dead letters, what is parked, and what is removed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use dm_core::error::{ExitStatus, Result};
use dm_host::output_target::OutputTarget;
use dm_messaging::MessagingError;
use dm_messaging::dead_letters::import_export;
use dm_operations::{StackClients, dead_letters};
use dm_terminal::text;

use super::DeadLetterFilterArgs;
use crate::context::Context;

/// What stands for stdin, and for stdout.
const STDIO_ARGUMENT: &str = "-";

/// How much is written to stdout at a time.
const CHUNK_SIZE: usize = 256 * 1024;

/// Writes a copy to a file or to stdout, and says how many it is of.
pub(super) async fn export(
    context: &Context,
    desk: &StackClients,
    file: &Path,
    which: DeadLetterFilterArgs,
) -> Result<ExitStatus> {
    let selection = which.into_selection()?;
    let target = if file == Path::new(STDIO_ARGUMENT) {
        OutputTarget::Stdout
    } else {
        OutputTarget::from_path(file).map_err(MessagingError::file_access("write", file))?
    };
    let letters = match target {
        OutputTarget::File => dead_letters::export(desk, &selection, file).await?,
        OutputTarget::Stream => {
            let (spool, letters) = dead_letters::export_to_temp_file(desk, &selection).await?;
            copy_to_stream(spool, file).await?;
            letters
        }
        OutputTarget::Stdout => {
            let (spool, letters) = dead_letters::export_to_temp_file(desk, &selection).await?;
            print_spool(context, spool)?;
            letters
        }
    };
    let what = count_dead_letters(letters);
    let place = if target == OutputTarget::Stdout {
        "stdout".to_owned()
    } else {
        file.display().to_string()
    };
    context.printer.done(&format!("{what} written to {place}"));
    Ok(ExitStatus::Success)
}

fn print_spool(context: &Context, spool: File) -> Result<()> {
    let mut spool = BufReader::new(spool);
    let mut portion = String::new();
    loop {
        let read = spool
            .read_line(&mut portion)
            .map_err(MessagingError::from)?;
        if read == 0 || portion.len() >= CHUNK_SIZE {
            context.printer.write_stdout(&portion)?;
            portion.clear();
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Writes to a pipe or to a device, as it is. A pipe may have no reader yet: the wait for one
/// must not hold up an interrupt.
async fn copy_to_stream(mut spool: File, to: &Path) -> Result<()> {
    let failed = MessagingError::file_access("write", to);
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
pub(super) async fn import(
    context: &Context,
    desk: &StackClients,
    file: &Path,
) -> Result<ExitStatus> {
    let (name, parsed) = if file == Path::new(STDIO_ARGUMENT) {
        let parsed = import_export::read_lenient(std::io::stdin().lock());
        ("stdin".to_owned(), parsed.map_err(MessagingError::from)?)
    } else {
        let failed = || MessagingError::file_access("read", file);
        let opened = File::open(file).map_err(failed())?;
        let parsed = import_export::read_lenient(BufReader::new(opened)).map_err(failed())?;
        (file.display().to_string(), parsed)
    };
    if let ([], Some(first)) = (parsed.lines.as_slice(), parsed.malformed.first()) {
        return Err(MessagingError::NoValidLine {
            file: name,
            first: first.to_string(),
        }
        .into());
    }
    for error in &parsed.malformed {
        context.printer.warn(&format!("{name}: {error}"));
    }
    let imported = dead_letters::import(&context.session, desk, &parsed.lines).await?;
    let exit = report_import(context, &imported);
    Ok(if parsed.malformed.is_empty() {
        exit
    } else {
        ExitStatus::Findings
    })
}

/// Makes parked letters dead letters again.
pub(super) async fn unpark(
    context: &Context,
    desk: &StackClients,
    ids: &[String],
) -> Result<ExitStatus> {
    let imported = dead_letters::unpark(&context.session, desk, ids).await?;
    Ok(report_import(context, &imported))
}

pub(super) async fn purge(
    context: &Context,
    desk: &StackClients,
    file: &Path,
    which: DeadLetterFilterArgs,
    yes: bool,
) -> Result<ExitStatus> {
    let target =
        OutputTarget::from_path(file).map_err(MessagingError::file_access("write", file))?;
    if file == Path::new(STDIO_ARGUMENT) || target != OutputTarget::File {
        return Err(MessagingError::CopyNotRegularFile.into());
    }
    let selection = which.into_selection()?;
    let removed = dead_letters::purge(&context.session, desk, &selection, file, yes).await?;
    let what = count_dead_letters(removed);
    context.printer.done(&format!("{what} removed"));
    Ok(ExitStatus::Success)
}

pub(super) async fn park(
    context: &Context,
    desk: &StackClients,
    which: DeadLetterFilterArgs,
    note: &str,
    yes: bool,
) -> Result<ExitStatus> {
    let selection = which.into_selection()?;
    let parking = dead_letters::park(&context.session, desk, &selection, note, yes).await?;
    for (letter, why) in &parking.skipped {
        context
            .printer
            .warn(&super::render::parking_failure_sentence(letter, why));
    }
    let what = count_dead_letters(parking.parked.len() as u64);
    let unpark = context.session.dm_command("dlq unpark");
    context.printer.done(&format!(
        "{what} parked; return them to their queues: {unpark}"
    ));
    Ok(if parking.skipped.is_empty() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}

/// Says what became of letters that were to be put back.
fn report_import(context: &Context, imported: &import_export::ImportSummary) -> ExitStatus {
    let mut sentence = format!(
        "{} of {} are dead letters again",
        imported.imported,
        imported.total()
    );
    if imported.already_present > 0 {
        sentence.push_str(&format!("; {} existed already", imported.already_present));
    }
    if imported.refused > 0 {
        context.printer.warn(&sentence);
        return ExitStatus::Findings;
    }
    context.printer.done(&sentence);
    ExitStatus::Success
}

fn count_dead_letters(letters: u64) -> String {
    text::pluralize(
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
        assert_eq!(
            OutputTarget::from_path(&pipe).unwrap(),
            OutputTarget::Stream
        );
        let mut spool = tempfile::tempfile().unwrap();
        spool.write_all(b"{}\n{}\n").unwrap();
        spool.rewind().unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read_to_string(pipe).unwrap()
        });
        copy_to_stream(spool, &pipe).await.unwrap();
        assert_eq!(reader.join().unwrap(), "{}\n{}\n");
        assert_eq!(
            OutputTarget::from_path(&pipe).unwrap(),
            OutputTarget::Stream
        );
    }
}
