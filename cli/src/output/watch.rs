//! `dm status --watch`: the table redrawn in place, or written again in a pipe
//! whenever something in it changed.

use std::io;

use super::progress::Screen;
use super::{OutputError, Printer, json, status};
use crate::stack::status::StatusRow;

/// What is being watched.
#[derive(Debug)]
pub struct Watch {
    printer: Printer,
    screen: Screen,
    last: String,
}

impl Watch {
    /// A watch that writes to stdout.
    #[must_use]
    pub fn new(printer: &Printer) -> Self {
        Self {
            printer: printer.clone(),
            screen: Screen::default(),
            last: String::new(),
        }
    }

    /// Shows how things stand now.
    ///
    /// # Errors
    /// Nobody reads stdout any more.
    pub fn show(&mut self, instance: &str, rows: &[StatusRow]) -> Result<(), OutputError> {
        if self.printer.is_json() {
            let line = json::line(status::SCHEMA, &status::Document::new(instance, rows))?;
            return self.printer.data(&line);
        }
        let canvas = self.printer.out();
        let table = status::render(rows, &canvas);
        if self.printer.settings().out.terminal {
            let lines = table.lines().map(str::to_owned).collect();
            return self
                .screen
                .draw(&mut io::stdout().lock(), lines, canvas.width)
                .map_err(OutputError::write);
        }
        // Times go on; a change is a change of everything but them.
        let state: String = rows
            .iter()
            .map(|row| format!("{} {:?}\n", row.component, row.state))
            .collect();
        if state == self.last {
            return Ok(());
        }
        self.last = state;
        self.printer.data(&table)
    }
}
