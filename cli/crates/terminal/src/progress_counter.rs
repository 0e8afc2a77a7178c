//! A progress counter: a bar on a terminal, one line per second otherwise.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::live::LiveLine;
use super::{Printer, ProgressChoice};

/// The interval at which a bar is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// The interval at which a line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// A progress counter. Dropping it removes its bar.
#[derive(Debug)]
pub struct ProgressCounter {
    printer: Printer,
    label: &'static str,
    started_at: Instant,
    last_shown: Mutex<Instant>,
}

impl ProgressCounter {
    /// Creates a counter with a label, e.g. `replayed`.
    #[must_use]
    pub fn new(printer: &Printer, label: &'static str) -> Self {
        let now = Instant::now();
        Self {
            printer: printer.clone(),
            label,
            started_at: now,
            last_shown: Mutex::new(now),
        }
    }

    /// Reports that `done` of `total` are done.
    pub fn update(&self, done: u64, total: u64) {
        let is_live = self.printer.settings().progress == ProgressChoice::Live;
        let mut last = self
            .last_shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let interval = if is_live {
            REDRAW_INTERVAL
        } else {
            LINE_INTERVAL
        };
        if last.elapsed() < interval {
            return;
        }
        *last = Instant::now();
        if is_live {
            let rate = done as f64 / self.started_at.elapsed().as_secs_f64().max(0.001);
            let line = LiveLine::Bar {
                prefix: format!("{} ", self.label),
                current: done,
                total,
                suffix: format!(" {done} of {total}, {rate:.0}/s"),
            };
            self.printer.show_live_lines(vec![line], true);
        } else {
            self.printer
                .note(&format!("{done} of {total} {}", self.label));
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
    fn counter_in_a_pipe_writes_a_line_per_interval() {
        let (printer, _, err) = captured_printer(&OutputFlags::default(), &pipe_env());
        let counter = ProgressCounter::new(&printer, "replayed");
        counter.update(1, 10);
        assert_eq!(err.contents(), "", "not yet");
        *counter.last_shown.lock().unwrap() -= LINE_INTERVAL;
        counter.update(2, 10);
        assert_eq!(err.contents(), "2 of 10 replayed\n");
    }
}
