//! Tests of the program's output, its documentation and its structure. No test needs an engine,
//! and none can reach one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of this is a test"
)]

mod bench;
mod commands;
mod configuration;
mod crates;
mod documented;
mod help;
mod hints;
mod import_cycles;
mod launcher;
mod migrations;
mod pages;
mod project;
mod reference;
mod streams;
mod usage;
