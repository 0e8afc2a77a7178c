//! `dm`: parses the command line, dispatches the command and returns the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use dm::commands::Cli;
use dm_terminal::Printer;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer::from_process(cli.flags());
    let graceful = cli.is_graceful();
    dm_console::run_process(&printer, graceful, async |interrupt| {
        cli.run(&printer, &interrupt).await
    })
}
