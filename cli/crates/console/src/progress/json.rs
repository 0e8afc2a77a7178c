//! One JSON object per event; the format is described in
//! `docs/progress-json.md`.

use std::time::Duration;

use dm_stack::event::RunEvent;
use dm_terminal::{Printer, json};

use super::Reporter;

/// Writes each event as a line of JSON.
pub(crate) struct JsonReporter {
    printer: Printer,
    is_first: bool,
}

impl JsonReporter {
    /// Creates a reporter that uses this printer.
    pub(crate) fn new(printer: &Printer) -> Self {
        Self {
            printer: printer.clone(),
            is_first: true,
        }
    }
}

impl Reporter for JsonReporter {
    fn on_event(&mut self, event: &RunEvent, _: Duration) {
        let line = if std::mem::take(&mut self.is_first) {
            json::format_line(&dm_core::document::PROGRESS, event)
        } else {
            json::format_continuation_line(&dm_core::document::PROGRESS, event)
        };
        // Only a path that is not UTF-8 cannot be expressed; the run must not fail because of it.
        if let Ok(line) = line {
            self.printer.write_stderr(&line);
        }
    }

    fn on_tick(&mut self, _: Duration) {}

    fn finish(&mut self, _: Duration) {}
}
