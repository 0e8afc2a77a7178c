//! `dm-bench`: what `dm bench` becomes. It is handed a request, and ends with its exit code.

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
