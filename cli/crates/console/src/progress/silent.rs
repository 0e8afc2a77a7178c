//! With `--quiet`: failures alone.

use std::time::Duration;

use dm_stack::event::Event;
use dm_terminal::Printer;

use super::Reporter;
use crate::failure;

/// Says nothing of a run but why it failed.
pub(crate) struct Silent(Printer);

impl Silent {
    /// A reporter to this printer.
    pub(crate) fn new(printer: &Printer) -> Self {
        Self(printer.clone())
    }
}

impl Reporter for Silent {
    fn event(&mut self, event: &Event, _: Duration) {
        match event {
            Event::Failed(it) => failure::show(it, &self.0),
            Event::Diagnostics { path } => self.0.message(&failure::bundle(path, &self.0.err())),
            _ => {}
        }
    }

    fn tick(&mut self, _: Duration) {}

    fn end(&mut self, _: Duration) {}
}
