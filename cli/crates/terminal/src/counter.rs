//! How many of many are done: a bar on a terminal, a line a second elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::live::Line;
use super::{Printer, ProgressChoice};

/// How often a bar moves.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written.
const BEAT: Duration = Duration::from_secs(1);

/// A count under way. What it drew goes with it.
#[derive(Debug)]
pub struct Counter {
    printer: Printer,
    what: &'static str,
    began: Instant,
    last: Mutex<Instant>,
}

impl Counter {
    /// A count of what is done, e.g. `replayed`.
    #[must_use]
    pub fn new(printer: &Printer, what: &'static str) -> Self {
        let now = Instant::now();
        Self {
            printer: printer.clone(),
            what,
            began: now,
            last: Mutex::new(now),
        }
    }

    /// So many are done, of so many.
    pub fn show(&self, done: u64, of: u64) {
        let live = self.printer.settings().progress == ProgressChoice::Live;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < if live { FRAME } else { BEAT } {
            return;
        }
        *last = Instant::now();
        if live {
            let rate = done as f64 / self.began.elapsed().as_secs_f64().max(0.001);
            let line = Line::Counted {
                before: format!("{} ", self.what),
                done,
                of,
                after: format!(" {done} of {of}, {rate:.0}/s"),
            };
            self.printer.live(vec![line], true);
        } else {
            self.printer.note(&format!("{done} of {of} {}", self.what));
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if self.printer.settings().progress == ProgressChoice::Live {
            self.printer.live(Vec::new(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flags;
    use crate::testing::{captured, pipe_env};

    #[test]
    fn a_pipe_gets_a_line_now_and_then() {
        let (printer, _, err) = captured(&Flags::default(), &pipe_env());
        let counter = Counter::new(&printer, "replayed");
        counter.show(1, 10);
        assert_eq!(err.text(), "", "not yet");
        *counter.last.lock().unwrap() -= BEAT;
        counter.show(2, 10);
        assert_eq!(err.text(), "2 of 10 replayed\n");
    }
}
