//! `dm`: parse, dispatch, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;
use dm::commands::Cli;
use dm_core::error::Exit;
use dm_host::signals;
use dm_terminal::Printer;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer::from_process(cli.flags());
    let exit = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let exit = runtime.block_on(run(cli, &printer));
            // A task that hangs in a system call must not hold up the exit.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            printer.warn(&format!("could not start the async runtime: {error}"));
            Exit::Usage
        }
    };
    ExitCode::from(exit.code())
}

/// Runs the command until it is done or interrupted. The first interrupt lets a
/// graceful command wind down; the next one, or the first for the others, ends it.
async fn run(cli: Cli, printer: &Printer) -> Exit {
    let interrupts = signals::Interrupts::listen(cli.is_graceful());
    let interrupt = interrupts.token();
    tokio::select! {
        result = cli.run(printer, &interrupt) => match result {
            Ok(exit) => exit,
            Err(error) => printer.error(&error),
        },
        () = interrupts.insisted() => Exit::Interrupted,
    }
}
