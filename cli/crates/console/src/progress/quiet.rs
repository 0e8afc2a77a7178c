//! The reporter for `--quiet`: failures only.

use std::time::Duration;

use dm_stack::event::RunEvent;
use dm_terminal::Printer;

use super::Reporter;
use crate::failure;

/// Reports only the failures of a run.
pub(crate) struct QuietReporter(Printer);

impl QuietReporter {
    /// Creates a reporter that uses this printer.
    pub(crate) fn new(printer: &Printer) -> Self {
        Self(printer.clone())
    }
}

impl Reporter for QuietReporter {
    fn on_event(&mut self, event: &RunEvent, _: Duration) {
        match event {
            RunEvent::Failed(failure) => failure::print(failure, &self.0),
            RunEvent::Diagnostics { path } => self
                .0
                .write_stderr(&failure::render_bundle_path(path, &self.0.stderr_canvas())),
            _ => {}
        }
    }

    fn on_tick(&mut self, _: Duration) {}

    fn finish(&mut self, _: Duration) {}
}
