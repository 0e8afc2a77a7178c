//! One JSON object an event; the format is described in
//! `docs/progress-json.md`.

use std::time::Duration;

use dm_stack::event::Event;
use dm_terminal::{Printer, json};

use super::Reporter;

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
            json::line(&dm_core::document::PROGRESS, event)
        } else {
            json::further_line(&dm_core::document::PROGRESS, event)
        };
        // Only a path that is no UTF-8 can't be expressed; the run matters more.
        if let Ok(line) = line {
            self.printer.message(&line);
        }
    }

    fn tick(&mut self, _: Duration) {}

    fn end(&mut self, _: Duration) {}
}
