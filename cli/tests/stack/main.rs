//! Tests of the stack on a real engine, with real servers.
//!
//! Each test has a project of its own, or uses the shared one without changing it; see
//! [`harness`]. The tests need an engine: `./dm test` starts one first.

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
mod foreign_objects;
mod identity;
mod image_archives;
mod instances;
mod interrupts;
mod kills;
mod lifecycle;
mod permissions;
mod repair;
mod secret_changes;

use std::process::ExitCode;

/// Returns all tests. The longest ones start first.
fn trials() -> Vec<libtest_mimic::Trial> {
    [
        instances::trials(),
        lifecycle::trials(),
        kills::trials(),
        first_start::trials(),
        failures::trials(),
        interrupts::trials(),
        repair::trials(),
        engine_faults::trials(),
        foreign_objects::trials(),
        commands::trials(),
        identity::trials(),
        permissions::trials(),
        secret_changes::trials(),
        broker::trials(),
        image_archives::trials(),
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
    let run = harness::run::SuiteRun::begin();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let remaining = run.end();
    if remaining.is_empty() {
        return conclusion.exit_code();
    }
    eprintln!(
        "the tests left these objects behind:\n  {}",
        remaining.join("\n  ")
    );
    ExitCode::FAILURE
}
