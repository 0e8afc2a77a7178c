//! Terminal output of any kind: streams, colours, tables, live lines, prompts, JSON documents
//! and error reports.
//!
//! [`Printer`] decides once, from the flags and the environment, how to write: terminal or pipe,
//! width, colour, glyphs. Data goes to stdout; progress, notes and errors go to stderr. Rendering
//! is a pure function of a value and a [`Canvas`], so that a test sees the same output as a user.

pub mod attached_terminal;
pub mod canvas;
pub mod compiler_errors;
mod error;
pub mod error_report;
pub mod github_actions;
pub mod json;
pub mod live;
pub mod live_table;
mod palette;
mod printer;
pub mod progress_counter;
mod prompt;
mod settings;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
mod usage_error;

pub use canvas::{Canvas, Glyph, Style};
pub use error::OutputError;
pub use printer::Printer;
pub use settings::{
    ColorChoice, OutputFlags, OutputSettings, ProgressChoice, StreamCapabilities, TerminalEnv,
};
