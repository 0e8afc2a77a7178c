//! `dm-bench`: what `dm bench` becomes. It is handed a request, and ends with its exit code.

use std::process::ExitCode;

use dm_bench_request::Request;
use dm_terminal::{Flags, Printer};

fn main() -> ExitCode {
    let request = match Request::from_environment() {
        Ok(request) => request,
        Err(error) => {
            let printer = Printer::from_process(&Flags::default());
            return ExitCode::from(printer.error(&error).code());
        }
    };
    let printer = Printer::from_process(&request.flags);
    dm_console::run_process(&printer, true, async |interrupt| {
        dm_bench::run(request, &printer, interrupt).await
    })
}
