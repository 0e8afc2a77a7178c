//! How many of many are done: a bar on a terminal, a line a second elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::live::LiveLine;
use super::{Printer, ProgressChoice};

/// How often a bar moves.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// A count under way. What it drew goes with it.
#[derive(Debug)]
pub struct ProgressCounter {
    printer: Printer,
    label: &'static str,
    started_at: Instant,
    last_shown: Mutex<Instant>,
}

impl ProgressCounter {
    /// A count of what is done, e.g. `replayed`.
    #[must_use]
    pub fn new(printer: &Printer, what: &'static str) -> Self {
        let now = Instant::now();
        Self {
            printer: printer.clone(),
            label: what,
            started_at: now,
            last_shown: Mutex::new(now),
        }
    }

    /// So many are done, of so many.
    pub fn update(&self, done: u64, of: u64) {
        let live = self.printer.settings().progress == ProgressChoice::Live;
        let mut last = self
            .last_shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < if live { REDRAW_INTERVAL } else { LINE_INTERVAL } {
            return;
        }
        *last = Instant::now();
        if live {
            let rate = done as f64 / self.started_at.elapsed().as_secs_f64().max(0.001);
            let line = LiveLine::Bar {
                prefix: format!("{} ", self.label),
                current: done,
                total: of,
                suffix: format!(" {done} of {of}, {rate:.0}/s"),
            };
            self.printer.show_live_lines(vec![line], true);
        } else {
            self.printer.note(&format!("{done} of {of} {}", self.label));
        }
    }
}

impl Drop for ProgressCounter {
    fn drop(&mut self) {
        if self.printer.settings().progress == ProgressChoice::Live {
            self.printer.show_live_lines(Vec::new(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OutputFlags;
    use crate::testing::{captured_printer, pipe_env};

    #[test]
    fn a_pipe_gets_a_line_now_and_then() {
        let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
        let counter = ProgressCounter::new(&printer, "replayed");
        counter.update(1, 10);
        assert_eq!(err.contents(), "", "not yet");
        *counter.last_shown.lock().unwrap() -= LINE_INTERVAL;
        counter.update(2, 10);
        assert_eq!(err.contents(), "2 of 10 replayed\n");
    }
}
