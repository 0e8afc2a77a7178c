//! The process of a program: its runtime, its interrupts and its exit code.

use std::process::ExitCode;

use dm_core::error::{ExitStatus, Result};
use dm_host::signals::Interrupts;
use dm_terminal::Printer;
use tokio_util::sync::CancellationToken;

/// Runs a command on a runtime of its own until it is done or interrupted, prints its error,
/// and returns the exit code of the process.
///
/// The first interrupt cancels the command's token: a `graceful` command then shuts down on
/// its own. The next interrupt, or the first one for other commands, ends it.
#[must_use]
pub fn run_process(
    printer: &Printer,
    graceful: bool,
    command: impl AsyncFnOnce(CancellationToken) -> Result<ExitStatus>,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let status = match runtime {
        Ok(runtime) => {
            let status = runtime.block_on(run_until_interrupted(printer, graceful, command));
            // A task that hangs in a system call must not delay the exit.
            runtime.shutdown_background();
            status
        }
        Err(error) => {
            printer.warn(&format!("could not start the async runtime: {error}"));
            ExitStatus::Usage
        }
    };
    ExitCode::from(status.code())
}

async fn run_until_interrupted(
    printer: &Printer,
    graceful: bool,
    command: impl AsyncFnOnce(CancellationToken) -> Result<ExitStatus>,
) -> ExitStatus {
    let interrupts = Interrupts::listen(graceful);
    tokio::select! {
        result = command(interrupts.cancellation_token()) => match result {
            Ok(status) => status,
            Err(error) => printer.print_error(&error),
        },
        () = interrupts.wait_for_forced() => ExitStatus::Interrupted,
    }
}
