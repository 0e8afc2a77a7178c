//! Parses the command line, dispatches the command and returns the exit code.
//!
//! In `main.rs`, the compiler would generate the code of all commands a second time, as part of the
//! generic `run_process`.

use std::process::ExitCode;

use clap::Parser as _;
use dm_terminal::{OutputFlags, Printer};

use crate::commands::Cli;

/// Runs the command of the process's command line, and returns the exit code.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => dispatch(cli),
        Err(error) => print_parse_error(&error),
    }
}

fn dispatch(cli: Cli) -> ExitCode {
    let printer = Printer::from_process(cli.flags());
    let graceful = cli.is_graceful();
    dm_console::run_process(&printer, graceful, async |interrupt| {
        cli.run(&printer, &interrupt).await
    })
}

/// Prints a usage error. Clap returns the requested help and version as errors, too.
fn print_parse_error(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that closes stdout has read enough of the help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let flags = OutputFlags::from_invalid_command_line(std::env::args_os());
    let printer = Printer::from_process(&flags);
    ExitCode::from(printer.print_usage_error(error).code())
}
