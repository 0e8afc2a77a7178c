//! Helpers for tests of terminal output.

#![allow(clippy::unwrap_used, reason = "only tests use this module")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::{Canvas, OutputFlags, OutputSettings, Printer, Style, TerminalEnv};

/// A stream whose output can be read back.
#[derive(Debug, Clone, Default)]
pub struct CapturedOutput(Arc<Mutex<Vec<Vec<u8>>>>);

impl CapturedOutput {
    /// Returns the output so far.
    pub fn contents(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().concat()).unwrap()
    }

    /// Returns the number of writes.
    #[cfg(test)]
    pub(crate) fn write_count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An emulated terminal. A line feed includes a carriage return, as with a
/// terminal's line discipline.
#[derive(Clone)]
pub struct TerminalEmulator(Arc<Mutex<vt100::Parser>>);

impl TerminalEmulator {
    /// Creates an empty terminal of this size.
    pub fn new(rows: u16, columns: u16) -> Self {
        Self(Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0))))
    }

    /// Returns the visible text.
    pub fn contents(&self) -> String {
        self.0.lock().unwrap().screen().contents()
    }

    /// Returns the cursor's row and column, counted from 0.
    #[cfg(test)]
    pub(crate) fn cursor(&self) -> (u16, u16) {
        self.0.lock().unwrap().screen().cursor_position()
    }
}

impl Write for TerminalEmulator {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).replace('\n', "\r\n");
        self.0.lock().unwrap().process(text.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a printer with its captured stdout and stderr.
pub fn captured_printer(
    flags: &OutputFlags,
    env: &TerminalEnv,
) -> (Printer, CapturedOutput, CapturedOutput) {
    let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
    let printer = Printer::new(
        OutputSettings::resolve(flags, env),
        Box::new(out.clone()),
        Box::new(err.clone()),
    );
    (printer, out, err)
}

/// Returns the environment of a pipe with Unicode glyphs.
pub fn pipe_env() -> TerminalEnv {
    TerminalEnv {
        locale: Some("C.UTF-8".into()),
        ..TerminalEnv::default()
    }
}

/// Returns the canvas of a terminal without colour, for readable snapshots.
pub const fn terminal_canvas(width: usize) -> Canvas {
    Canvas {
        style: Style {
            colour: false,
            unicode: true,
        },
        width,
        is_bounded: true,
    }
}

/// Returns the canvas of a terminal with colour.
pub const fn coloured_canvas(width: usize) -> Canvas {
    Canvas {
        style: Style {
            colour: true,
            unicode: true,
        },
        width,
        is_bounded: true,
    }
}

/// Returns the canvas of a pipe in a plain POSIX locale.
pub const fn pipe_canvas() -> Canvas {
    Canvas {
        style: Style {
            colour: false,
            unicode: false,
        },
        width: 80,
        is_bounded: false,
    }
}

/// Makes escapes readable in a snapshot.
pub fn escape_sgr(text: &str) -> String {
    text.replace('\x1b', "ESC")
}

/// Fails if a line is wider than the terminal.
pub fn assert_fits(text: &str, width: usize) {
    for line in text.lines() {
        assert!(
            super::text::display_width(line) <= width,
            "wider than {width}: {line}"
        );
    }
}
