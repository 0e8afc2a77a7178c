//! What a terminal is written with, whatever is written: streams, colours, tables, live lines,
//! questions, JSON documents and reports of failures.
//!
//! [`Printer`] decides once, from the flags and the environment, how to write: terminal or pipe,
//! width, colour, glyphs. Data goes to stdout; progress, notes and errors go to stderr. What is
//! rendered is a pure function of a value and a [`Canvas`], so that a test can look at exactly
//! what a person would.

pub mod annotation;
pub mod counter;
mod error;
pub mod json;
pub mod live;
mod paint;
mod printer;
mod prompt;
pub mod report;
pub mod session;
mod settings;
pub mod source_error;
pub mod style;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod watch;

pub use error::OutputError;
pub use printer::Printer;
pub use settings::{ColorChoice, Env, Flags, ProgressChoice, Settings, Stream};
pub use style::{Canvas, Glyph, Style};
