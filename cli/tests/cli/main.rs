//! The program's text, as whoever calls it reads it. No test here needs an
//! engine, and none finds one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of this is a test"
)]

mod bench;
mod circles;
mod commands;
mod configuration;
mod crates;
mod documented;
mod help;
mod launcher;
mod pages;
mod project;
mod streams;
mod usage;
