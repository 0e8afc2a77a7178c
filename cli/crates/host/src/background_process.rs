//! Background processes, which outlive the current process.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// The error if a process cannot be started.
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

/// Returns the path of the current executable.
///
/// # Errors
/// Returns [`BackgroundProcessError`] if the system does not provide the path.
pub fn current_executable() -> Result<PathBuf, BackgroundProcessError> {
    Ok(std::env::current_exe()?)
}

/// Starts a command that continues after the current process has ended, in its own
/// process group, so that the terminal's interrupts do not reach it. Its output
/// replaces the file `log`.
///
/// # Errors
/// Returns [`BackgroundProcessError`] if the file cannot be written, or the program cannot be
/// started.
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
