//! The stack on a real engine, with real servers, as its users meet it.
//!
//! Each test has a project of its own, or shares the one that nobody changes;
//! see [`harness`]. They need an engine: `./dm test` starts one first.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "all of this is a test"
)]

mod harness;
#[path = "../support/secrets.rs"]
mod secrets;

mod broker;
mod commands;
mod engine_faults;
mod failures;
mod first_start;
mod foreign;
mod healing;
mod identity;
mod instances;
mod interrupts;
mod kills;
mod lifecycle;
mod rights;
mod secrets_follow;

use std::process::ExitCode;

/// All tests; those that take longest begin first.
fn trials() -> Vec<libtest_mimic::Trial> {
    [
        instances::trials(),
        lifecycle::trials(),
        kills::trials(),
        first_start::trials(),
        failures::trials(),
        interrupts::trials(),
        healing::trials(),
        engine_faults::trials(),
        foreign::trials(),
        commands::trials(),
        identity::trials(),
        rights::trials(),
        secrets_follow::trials(),
        broker::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = trials();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let run = harness::run::Run::begin();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left = run.end();
    if left.is_empty() {
        return conclusion.exit_code();
    }
    eprintln!("the tests left these behind:\n  {}", left.join("\n  "));
    ExitCode::FAILURE
}
