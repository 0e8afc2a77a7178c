//! `dm-bench`, the program that `dm bench` executes. It reads a request from the environment and
//! exits with the exit status of the command.

use std::process::ExitCode;

use dm_bench_request::BenchRequest;
use dm_terminal::{OutputFlags, Printer};

fn main() -> ExitCode {
    let request = match BenchRequest::from_env() {
        Ok(request) => request,
        Err(error) => {
            let printer = Printer::from_process(&OutputFlags::default());
            return ExitCode::from(printer.print_error(&error).code());
        }
    };
    let printer = Printer::from_process(&request.flags);
    dm_console::run_process(&printer, true, async |interrupt| {
        dm_bench::run(request, &printer, interrupt).await
    })
}
