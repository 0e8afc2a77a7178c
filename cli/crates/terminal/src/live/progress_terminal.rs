//! The terminal that `indicatif` draws to.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use crate::text;

/// Rows and columns of a terminal, asked anew each time: windows are resized.
pub type SizeQuery = Box<dyn Fn() -> Option<(u16, u16)> + Send + Sync>;

/// Rows and columns of a terminal that won't tell.
const DEFAULT_SIZE: (u16, u16) = (24, 80);

/// A terminal, or whatever else stderr is, and what stands at its end.
///
/// indicatif fills each line to the right edge and lets the terminal wrap to
/// the next one. Here that edge is only what indicatif takes for it: a filled
/// line is cut back to its text and ended by a line feed, so that no terminal
/// takes two lines for one when it is resized, and the cursor rests at the
/// start of the line below, where the echo of a Ctrl-C does no harm.
#[derive(Clone)]
pub struct ProgressTerminal(Arc<Mutex<TerminalState>>);

struct TerminalState {
    writer: Box<dyn Write + Send>,
    size: SizeQuery,
    /// True where frames are drawn for nobody.
    is_frozen: bool,
    /// The lines that stand at the end of the terminal …
    shown: Vec<String>,
    /// … which had so many columns when they were drawn.
    columns: usize,
    /// The frame that is being drawn, and its last line so far.
    frame: Vec<String>,
    current_line: String,
    /// Why the last frame could not be written; indicatif tells nobody.
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
    /// A terminal with nothing at its end.
    #[must_use]
    pub fn new(to: Box<dyn Write + Send>, size: SizeQuery) -> Self {
        Self(Arc::new(Mutex::new(TerminalState {
            writer: to,
            size,
            is_frozen: false,
            shown: Vec::new(),
            columns: 0,
            frame: Vec::new(),
            current_line: String::new(),
            error: None,
        })))
    }

    /// Rows and columns, where it is a terminal.
    #[must_use]
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        (self.lock().size)()
    }

    /// From now on frames are drawn for nobody, or for everybody again.
    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.lock().is_frozen = frozen;
    }

    /// Whether the frames since the last call could be written.
    ///
    /// # Errors
    /// The last reason why not.
    pub(crate) fn take_error(&self) -> io::Result<()> {
        self.lock().error.take().map_or(Ok(()), Err)
    }

    /// Writes text as it is. Frames must be suspended.
    ///
    /// # Errors
    /// If it can't be written to.
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
    /// The size that indicatif draws for: one row is the cursor's, and no line
    /// reaches the last column.
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

    /// Replaces what is shown by the frame.
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
            // From the last row to the first. Clearing all at once from the
            // first would not do: where that is the top of the window, tmux
            // takes it for a cleared screen and keeps the lines in its history.
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
        let written = self.writer.write_all(bytes.as_bytes());
        self.error = written.and_then(|()| self.writer.flush()).err();
    }

    /// The rows that the shown lines take where the terminal has so many
    /// columns now: one that reflows has broken each line that no longer fits.
    fn shown_rows(&self, columns: usize) -> usize {
        self.shown
            .iter()
            .map(|line| text::display_width(line).div_ceil(columns).max(1))
            .sum()
    }
}

/// What indicatif tells of the frame before is not needed, since that is known
/// here, and with it how a resize has changed it.
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
