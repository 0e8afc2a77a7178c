//! The table of `--watch`: redrawn in place on a terminal, written again to a pipe after
//! each change.

use std::io;

use dm_core::document::DocumentSchema;
use serde::Serialize;

use super::live::{LiveLine, LiveLines, ProgressTerminal};
use super::{Canvas, OutputError, Printer, json};

/// A table that is redrawn with each state.
#[derive(Debug)]
pub struct LiveTable {
    printer: Printer,
    lines: LiveLines,
    last_state: String,
}

impl LiveTable {
    /// Creates a live table on stdout.
    #[must_use]
    pub fn new(printer: &Printer) -> Self {
        let size = || console::Term::stdout().size_checked();
        Self {
            printer: printer.clone(),
            lines: LiveLines::new(ProgressTerminal::new(
                Box::new(io::stdout()),
                Box::new(size),
            )),
            last_state: String::new(),
        }
    }

    /// Shows the current state: a line of JSON, or a table. A pipe receives the table again
    /// if `state` has changed, which excludes values that change all the time, e.g. ages.
    ///
    /// # Errors
    /// Returns [`OutputError::ReaderClosed`] if the reader has closed stdout, and another
    /// [`OutputError`] if the write fails for another reason.
    pub fn update<T: Serialize>(
        &mut self,
        schema: &DocumentSchema,
        body: &T,
        state: String,
        render: impl FnOnce(&Canvas) -> String,
    ) -> Result<(), OutputError> {
        if self.printer.is_json() {
            return self.printer.write_stdout(&json::format_line(schema, body)?);
        }
        let canvas = self.printer.stdout_canvas();
        if self.printer.settings().stdout.is_terminal {
            let max_rows = self
                .lines
                .size()
                .map_or(usize::MAX, |(rows, _)| rows.into());
            let lines = render_frame(render, &canvas, max_rows);
            let result = self.lines.draw(lines, canvas.style, false);
            return result.map_err(OutputError::from_write_error);
        }
        if state == self.last_state {
            return Ok(());
        }
        self.last_state = state;
        self.printer.write_stdout(&render(&canvas))
    }
}

/// Returns the lines of the table, narrower than the canvas and fewer than `max_rows`.
fn render_frame(
    render: impl FnOnce(&Canvas) -> String,
    canvas: &Canvas,
    max_rows: usize,
) -> Vec<LiveLine> {
    let canvas = Canvas {
        width: canvas.width.saturating_sub(1),
        ..*canvas
    };
    let table = render(&canvas);
    let mut lines: Vec<&str> = table.lines().collect();
    let notice;
    let max_rows = max_rows.saturating_sub(1).max(1);
    if lines.len() > max_rows {
        let hidden = lines.len() - (max_rows - 1);
        notice = format!("{hidden} more lines: enlarge the window");
        lines.truncate(max_rows - 1);
        lines.push(&notice);
    }
    lines
        .into_iter()
        .map(|line| LiveLine::Text(line.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::terminal_canvas;

    #[test]
    fn frame_fits_the_window_and_counts_hidden_lines() {
        let table = |_: &Canvas| ["a line"; 10].join("\n");
        let frame = |max_rows| render_frame(table, &terminal_canvas(80), max_rows);
        let full = frame(40);
        assert_eq!(frame(full.len() + 1), full);
        let cut = frame(full.len());
        assert_eq!(cut.len(), full.len() - 1);
        let last = "2 more lines: enlarge the window".to_owned();
        assert_eq!(cut.last(), Some(&LiveLine::Text(last)));
        assert_eq!(frame(1).len(), 1);
    }
}
