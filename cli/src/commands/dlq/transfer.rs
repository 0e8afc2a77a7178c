//! Exports, imports, parks and purges dead letters.

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

/// The argument that stands for stdin or stdout.
const STDIO_ARGUMENT: &str = "-";

/// The number of bytes that are written to stdout at a time.
const CHUNK_SIZE: usize = 256 * 1024;

/// Exports dead letters to a file or to stdout, and prints their number.
pub(super) async fn export(
    context: &Context,
    clients: &StackClients,
    file: &Path,
    filter: DeadLetterFilterArgs,
) -> Result<ExitStatus> {
    let selection = filter.into_selection()?;
    let target = if file == Path::new(STDIO_ARGUMENT) {
        OutputTarget::Stdout
    } else {
        OutputTarget::from_path(file).map_err(MessagingError::file_access("write", file))?
    };
    let count = match target {
        OutputTarget::File => dead_letters::export(clients, &selection, file).await?,
        OutputTarget::Stream => {
            let (spool, count) = dead_letters::export_to_temp_file(clients, &selection).await?;
            copy_to_stream(spool, file).await?;
            count
        }
        OutputTarget::Stdout => {
            let (spool, count) = dead_letters::export_to_temp_file(clients, &selection).await?;
            print_spool(context, spool)?;
            count
        }
    };
    let dead_letters = count_dead_letters(count);
    let destination = if target == OutputTarget::Stdout {
        "stdout".to_owned()
    } else {
        file.display().to_string()
    };
    context
        .printer
        .done(&format!("{dead_letters} written to {destination}"));
    Ok(ExitStatus::Success)
}

fn print_spool(context: &Context, spool: File) -> Result<()> {
    let mut spool = BufReader::new(spool);
    let mut chunk = String::new();
    loop {
        let read = spool.read_line(&mut chunk).map_err(MessagingError::from)?;
        if read == 0 || chunk.len() >= CHUNK_SIZE {
            context.printer.write_stdout(&chunk)?;
            chunk.clear();
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Copies to an existing pipe or device. A pipe may have no reader yet: waiting for one must
/// not block an interrupt.
async fn copy_to_stream(mut spool: File, path: &Path) -> Result<()> {
    let write_error = MessagingError::file_access("write", path);
    let path = path.to_owned();
    let copy = tokio::task::spawn_blocking(move || {
        let mut stream = OpenOptions::new().write(true).open(&path)?;
        std::io::copy(&mut spool, &mut stream)
    });
    let copied = copy.await.map_err(std::io::Error::other).flatten();
    copied.map_err(write_error)?;
    Ok(())
}

/// Imports the dead letters of a file or of stdin.
pub(super) async fn import(
    context: &Context,
    clients: &StackClients,
    file: &Path,
) -> Result<ExitStatus> {
    let (name, parsed) = if file == Path::new(STDIO_ARGUMENT) {
        let parsed = import_export::read_lenient(std::io::stdin().lock());
        ("stdin".to_owned(), parsed.map_err(MessagingError::from)?)
    } else {
        let read_error = || MessagingError::file_access("read", file);
        let opened = File::open(file).map_err(read_error())?;
        let parsed = import_export::read_lenient(BufReader::new(opened)).map_err(read_error())?;
        (file.display().to_string(), parsed)
    };
    let summary = dead_letters::import(&context.session, clients, &name, &parsed).await?;
    let exit_status = report_import(context, &summary);
    Ok(if parsed.malformed.is_empty() {
        exit_status
    } else {
        ExitStatus::Findings
    })
}

/// Moves parked messages back to their dead-letter queues.
pub(super) async fn unpark(
    context: &Context,
    clients: &StackClients,
    ids: &[String],
) -> Result<ExitStatus> {
    let summary = dead_letters::unpark(&context.session, clients, ids).await?;
    Ok(report_import(context, &summary))
}

pub(super) async fn purge(
    context: &Context,
    clients: &StackClients,
    file: &Path,
    filter: DeadLetterFilterArgs,
    yes: bool,
) -> Result<ExitStatus> {
    let target =
        OutputTarget::from_path(file).map_err(MessagingError::file_access("write", file))?;
    if file == Path::new(STDIO_ARGUMENT) || target != OutputTarget::File {
        return Err(MessagingError::CopyNotRegularFile.into());
    }
    let selection = filter.into_selection()?;
    let removed = dead_letters::purge(&context.session, clients, &selection, file, yes).await?;
    let dead_letters = count_dead_letters(removed);
    context.printer.done(&format!("{dead_letters} removed"));
    Ok(ExitStatus::Success)
}

pub(super) async fn park(
    context: &Context,
    clients: &StackClients,
    filter: DeadLetterFilterArgs,
    note: &str,
    yes: bool,
) -> Result<ExitStatus> {
    let selection = filter.into_selection()?;
    let summary = dead_letters::park(&context.session, clients, &selection, note, yes).await?;
    for (letter, reason) in &summary.skipped {
        context
            .printer
            .warn(&super::render::parking_failure_sentence(letter, reason));
    }
    let dead_letters = count_dead_letters(summary.parked.len() as u64);
    let unpark = context.session.dm_command("dlq unpark");
    context.printer.done(&format!(
        "{dead_letters} parked; return them to their queues: {unpark}"
    ));
    Ok(if summary.skipped.is_empty() {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}

/// Prints the summary of an import. Returns the exit status.
fn report_import(context: &Context, summary: &import_export::ImportSummary) -> ExitStatus {
    let mut sentence = format!(
        "{} of {} are back in their dead-letter queues",
        summary.imported,
        summary.total()
    );
    if summary.already_present > 0 {
        sentence.push_str(&format!("; {} existed already", summary.already_present));
    }
    if summary.refused > 0 {
        context.printer.warn(&sentence);
        return ExitStatus::Findings;
    }
    context.printer.done(&sentence);
    ExitStatus::Success
}

fn count_dead_letters(count: u64) -> String {
    text::pluralize(count, "dead letter")
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[tokio::test]
    async fn copy_to_stream_writes_everything_and_keeps_the_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(status.unwrap().success());
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
