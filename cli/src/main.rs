//! `dm`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    dm::process::run()
}
