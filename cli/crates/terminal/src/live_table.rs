//! What `--watch` shows: a table redrawn in place, or written again in a pipe whenever
//! something in it changed.

use std::io;

use dm_core::document::DocumentSchema;
use serde::Serialize;

use super::live::{LiveLine, LiveLines, ProgressTerminal};
use super::{Canvas, OutputError, Printer, json};

/// What is being watched.
#[derive(Debug)]
pub struct LiveTable {
    printer: Printer,
    lines: LiveLines,
    last_state: String,
}

impl LiveTable {
    /// A watch that writes to stdout.
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

    /// Shows how things stand now: a line of JSON, or a table. `state` is all of it whose
    /// change counts; times go on by themselves.
    ///
    /// # Errors
    /// Nobody reads stdout any more.
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
            let room = self
                .lines
                .size()
                .map_or(usize::MAX, |(rows, _)| rows.into());
            let lines = render_frame(render, &canvas, room);
            let shown = self.lines.draw(lines, canvas.style, false);
            return shown.map_err(OutputError::from_write_error);
        }
        if state == self.last_state {
            return Ok(());
        }
        self.last_state = state;
        self.printer.write_stdout(&render(&canvas))
    }
}

/// The table, narrower than the canvas and lower than `room` rows.
fn render_frame(
    render: impl FnOnce(&Canvas) -> String,
    canvas: &Canvas,
    room: usize,
) -> Vec<LiveLine> {
    let canvas = Canvas {
        width: canvas.width.saturating_sub(1),
        ..*canvas
    };
    let table = render(&canvas);
    let mut lines: Vec<&str> = table.lines().collect();
    let more;
    let room = room.saturating_sub(1).max(1);
    if lines.len() > room {
        let hidden = lines.len() - (room - 1);
        more = format!("{hidden} more lines: enlarge the window");
        lines.truncate(room - 1);
        lines.push(&more);
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
    fn a_table_fits_the_window_or_says_what_is_missing() {
        let table = |_: &Canvas| ["a line"; 10].join("\n");
        let frame = |room| render_frame(table, &terminal_canvas(80), room);
        let full = frame(40);
        assert_eq!(frame(full.len() + 1), full);
        let cut = frame(full.len());
        assert_eq!(cut.len(), full.len() - 1);
        let last = "2 more lines: enlarge the window".to_owned();
        assert_eq!(cut.last(), Some(&LiveLine::Text(last)));
        assert_eq!(frame(1).len(), 1);
    }
}
