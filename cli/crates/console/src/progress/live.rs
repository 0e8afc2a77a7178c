//! Live lines on a terminal, redrawn in place.

use std::time::Duration;

use dm_stack::event::{NodeState, RunEvent};
use dm_terminal::canvas::{Glyph, StyleRole};
use dm_terminal::{Printer, text};

use super::run_state::RunState;
use super::{ReportOptions, Reporter, layout};
use crate::failure;

/// Redraws the run at each tick. Permanent text is written above.
pub(crate) struct LiveReporter {
    printer: Printer,
    run: RunState,
    options: ReportOptions,
}

impl LiveReporter {
    /// Creates a reporter that uses this printer.
    pub(crate) fn new(printer: &Printer, options: ReportOptions) -> Self {
        Self {
            printer: printer.clone(),
            run: RunState::default(),
            options,
        }
    }

    fn draw(&self, now: Duration, turn: bool) {
        if self.run.rows.is_empty() {
            return;
        }
        let canvas = self.printer.live_canvas();
        let rows = self.printer.terminal_rows();
        let frame = layout::render_frame(&self.run, now, self.options.deadline, &canvas, rows);
        self.printer.show_live_lines(frame, turn);
    }

    /// Prints the permanent list and the outcome of the run.
    fn print_summary(&self, elapsed: Duration) {
        self.printer.show_live_lines(Vec::new(), false);
        let canvas = self.printer.stderr_canvas();
        let mut lines = if self.run.is_unchanged() {
            Vec::new()
        } else {
            layout::render_summary(&self.run, elapsed, &canvas)
        };
        if let Some(path) = &self.run.bundle_path {
            lines.push(failure::render_bundle_path(path, &canvas));
        }
        if let Some((ok, duration)) = self.run.finished
            && let Some(outcome) = self.run.outcome_sentence(ok, duration)
        {
            let (role, glyph) = match (ok, self.run.interrupted) {
                (true, _) => (StyleRole::Success, Glyph::Check),
                (false, true) => (StyleRole::Warning, Glyph::Warning),
                (false, false) => (StyleRole::Error, Glyph::Failed),
            };
            let sign = canvas.paint_glyph(role, glyph);
            let outcome = canvas.paint(role, &outcome);
            lines.push(canvas.wrap(&outcome, &format!("{sign} "), "  "));
        }
        self.printer.write_stderr(&lines.join("\n"));
    }
}

impl Reporter for LiveReporter {
    fn on_event(&mut self, event: &RunEvent, elapsed: Duration) {
        self.run.apply(event);
        match event {
            RunEvent::Failed(failure) => failure::print(failure, &self.printer),
            RunEvent::Note { name, text, .. } => {
                let about = name
                    .as_ref()
                    .map_or(String::new(), |name| format!("{name}: "));
                self.printer
                    .note(&text::sanitize(&format!("{about}{text}"), false));
            }
            // These are shown at once; the others wait for the next tick.
            RunEvent::Node { state, .. } if state.is_final() => self.draw(elapsed, false),
            RunEvent::Node {
                state: NodeState::Waiting { .. },
                ..
            } => {}
            RunEvent::Interrupted => self.draw(elapsed, false),
            _ => {}
        }
    }

    fn on_tick(&mut self, elapsed: Duration) {
        self.draw(elapsed, true);
    }

    fn finish(&mut self, elapsed: Duration) {
        let elapsed = self.run.finished.map_or(elapsed, |(_, elapsed)| elapsed);
        self.print_summary(elapsed);
    }
}
