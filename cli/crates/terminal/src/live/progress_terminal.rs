//! The terminal that `indicatif` draws to.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use crate::text;

/// A function that returns the rows and columns of a terminal, called each time: windows are
/// resized.
pub(crate) type SizeQuery = Box<dyn Fn() -> Option<(u16, u16)> + Send + Sync>;

/// Rows and columns of a terminal of unknown size.
const DEFAULT_SIZE: (u16, u16) = (24, 80);

/// A terminal, or another stream, with the lines at its end.
///
/// indicatif fills each line to the right edge and lets the terminal wrap to
/// the next one. Here indicatif sees a narrower terminal: a filled line is cut
/// back to its text and ended by a line feed, so that no terminal joins two
/// lines when it is resized, and the cursor stays at the start of the line
/// below, where the echo of Ctrl-C does no harm.
#[derive(Clone)]
pub struct ProgressTerminal(Arc<Mutex<TerminalState>>);

struct TerminalState {
    writer: Box<dyn Write + Send>,
    size: SizeQuery,
    /// True if frames are discarded.
    is_frozen: bool,
    /// The lines at the end of the terminal.
    shown: Vec<String>,
    /// The columns of the terminal when they were drawn.
    columns: usize,
    /// The complete lines of the frame that is being drawn.
    frame: Vec<String>,
    /// The last line of the frame so far.
    current_line: String,
    /// The error of the last frame, which indicatif does not return.
    error: Option<io::Error>,
}

impl fmt::Debug for ProgressTerminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("shown", &self.lock().shown)
            .finish_non_exhaustive()
    }
}

impl ProgressTerminal {
    /// Creates a terminal without lines at its end.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>, size: SizeQuery) -> Self {
        Self(Arc::new(Mutex::new(TerminalState {
            writer,
            size,
            is_frozen: false,
            shown: Vec::new(),
            columns: 0,
            frame: Vec::new(),
            current_line: String::new(),
            error: None,
        })))
    }

    /// Returns the rows and columns, if it is a terminal.
    #[must_use]
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        (self.lock().size)()
    }

    /// Discards all following frames, or draws them again.
    pub(crate) fn set_frozen(&self, is_frozen: bool) {
        self.lock().is_frozen = is_frozen;
    }

    /// Takes the error of the last frame.
    ///
    /// # Errors
    /// Returns [`std::io::Error`] if the last frame could not be written.
    pub(crate) fn take_error(&self) -> io::Result<()> {
        self.lock().error.take().map_or(Ok(()), Err)
    }

    /// Writes text unchanged. Frames must be suspended.
    ///
    /// # Errors
    /// Returns [`std::io::Error`] if the write fails.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.writer.write_all(text.as_bytes())?;
        state.writer.flush()
    }

    /// A terminal is usable even if a thread panicked while it wrote.
    fn lock(&self) -> MutexGuard<'_, TerminalState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TerminalState {
    /// Returns the size that indicatif sees: one row is reserved for the cursor, and
    /// no line reaches the last column.
    fn drawable_size(&self) -> (u16, u16) {
        let (rows, columns) = (self.size)().unwrap_or(DEFAULT_SIZE);
        (
            rows.saturating_sub(1).max(1),
            columns.saturating_sub(1).max(1),
        )
    }

    fn append(&mut self, text: &str) {
        self.current_line.push_str(text);
        let edge = usize::from(self.drawable_size().1);
        let columns = text::display_width(&self.current_line);
        if columns > 0 && columns.is_multiple_of(edge) {
            let line = std::mem::take(&mut self.current_line);
            let line = console::truncate_str(&line, edge, "");
            self.frame.push(line.trim_end_matches(' ').to_owned());
        }
    }

    /// Replaces the shown lines by the frame.
    fn draw_frame(&mut self) {
        self.current_line.clear();
        let frame = std::mem::take(&mut self.frame);
        let columns = usize::from((self.size)().unwrap_or(DEFAULT_SIZE).1).max(1);
        if self.is_frozen || (frame == self.shown && columns == self.columns) {
            return;
        }
        let rows = self.shown_rows(columns);
        let mut bytes = String::new();
        if frame.is_empty() {
            // From the last row to the first. If all rows are cleared at once from
            // the first one, and that is the top of the window, tmux takes this for
            // a cleared screen and keeps the lines in its history.
            bytes.push_str("\r\x1b[J");
            bytes.push_str(&"\x1b[A\x1b[2K".repeat(rows));
        } else {
            if rows > 0 {
                let _ = write!(bytes, "\r\x1b[{rows}A");
            }
            // Row by row: clearing all of them first would flicker. The whole
            // row, because tmux counts cells cleared behind the text when it
            // reflows.
            for line in &frame {
                let _ = writeln!(bytes, "\x1b[2K{line}");
            }
            bytes.push_str("\x1b[J");
        }
        self.shown = frame;
        self.columns = columns;
        let result = self.writer.write_all(bytes.as_bytes());
        self.error = result.and_then(|()| self.writer.flush()).err();
    }

    /// Returns the rows that the shown lines occupy at this number of columns: a
    /// terminal that reflows has broken each line that no longer fits.
    fn shown_rows(&self, columns: usize) -> usize {
        self.shown
            .iter()
            .map(|line| text::display_width(line).div_ceil(columns).max(1))
            .sum()
    }
}

/// The cursor movements of indicatif are ignored: the previous frame is known here,
/// and also how a resize has changed it.
impl TermLike for ProgressTerminal {
    fn width(&self) -> u16 {
        self.lock().drawable_size().1
    }

    fn height(&self) -> u16 {
        self.lock().drawable_size().0
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        let mut state = self.lock();
        let line = std::mem::take(&mut state.current_line) + text;
        state.frame.push(line);
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.lock().append(text);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.lock().draw_frame();
        Ok(())
    }
}
