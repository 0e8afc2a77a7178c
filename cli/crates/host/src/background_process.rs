//! Processes that outlive this one.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// A process could not be started.
#[derive(Debug, Error)]
#[error("could not start dm in the background")]
pub struct BackgroundProcessError(#[from] io::Error);

impl UserError for BackgroundProcessError {
    fn code(&self) -> ErrorCode {
        ErrorCode::BackgroundStart
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

/// The path of this program.
///
/// # Errors
/// The system doesn't tell it.
pub fn current_executable() -> Result<PathBuf, BackgroundProcessError> {
    Ok(std::env::current_exe()?)
}

/// Starts a command that goes on after this process has ended, in a process
/// group of its own so that the terminal's interrupts don't reach it. What it
/// prints replaces the file `log`.
///
/// # Errors
/// The file can't be written, or the program can't be started.
pub fn spawn_detached(mut command: Command, log: &Path) -> Result<(), BackgroundProcessError> {
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    Ok(())
}
