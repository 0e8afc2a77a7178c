//! One JSON object an event; the format is described in
//! `docs/progress-json.md`.

use std::time::Duration;

use dm_stack::event::Event;
use dm_terminal::{Printer, json};

use super::Reporter;

/// The schema, named by the first line.
pub(crate) const SCHEMA: &str = "dm.progress/1";

/// Writes each event as a line of JSON.
pub(crate) struct Json {
    printer: Printer,
    first: bool,
}

impl Json {
    /// A reporter to this printer.
    pub(crate) fn new(printer: &Printer) -> Self {
        Self {
            printer: printer.clone(),
            first: true,
        }
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &Event, _: Duration) {
        let line = if std::mem::take(&mut self.first) {
            json::line(SCHEMA, event)
        } else {
            json::further_line(SCHEMA, event)
        };
        // Only a path that is no UTF-8 can't be expressed; the run matters more.
        if let Ok(line) = line {
            self.printer.message(&line);
        }
    }

    fn tick(&mut self, _: Duration) {}

    fn end(&mut self, _: Duration) {}
}
