//! Every byte that a person sees.
//!
//! [`Printer`] decides once, from the flags and the environment, how to write:
//! terminal or pipe, width, colour, glyphs. Data goes to stdout; progress,
//! notes and errors go to stderr. The rest of the module turns values into
//! text: each `render` is a pure function of a value and a [`Canvas`], so that
//! a test can look at exactly what a person would.

pub mod annotation;
pub mod backup;
pub mod bench;
pub mod bench_services;
pub mod ci;
pub mod comparison;
pub mod config;
pub mod counter;
pub mod dev;
pub mod dlq;
pub mod doctor;
pub mod engine;
mod error;
pub mod events;
pub mod failure;
pub mod images;
pub mod inbox;
pub mod json;
mod live;
pub mod logs;
pub mod outbox;
pub mod plan;
mod printer;
pub mod progress;
pub mod prompt;
pub mod reconcile;
pub mod report;
pub mod retention;
pub mod schema;
pub mod seed;
pub mod session;
mod settings;
pub mod smoke;
mod source_error;
pub mod status;
pub mod style;
pub mod table;
pub mod text;
pub mod timings;
pub mod watch;

pub use error::OutputError;
pub use printer::Printer;
pub use settings::{ColorChoice, Env, Flags, ProgressChoice, Settings, Stream};
pub use style::{Canvas, Glyph, Style};

#[cfg(test)]
mod testing;
