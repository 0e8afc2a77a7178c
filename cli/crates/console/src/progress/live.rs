//! Live lines on a terminal, redrawn in place.

use std::time::Duration;

use dm_stack::event::{Event, NodeState};
use dm_terminal::style::{Glyph, Role};
use dm_terminal::{Printer, text};

use super::board::Board;
use super::{Options, Reporter, view};
use crate::failure;

/// Redraws the run at each beat; what should stay is written above.
pub(crate) struct Live {
    printer: Printer,
    board: Board,
    options: Options,
}

impl Live {
    /// A reporter to this printer.
    pub(crate) fn new(printer: &Printer, options: Options) -> Self {
        Self {
            printer: printer.clone(),
            board: Board::default(),
            options,
        }
    }

    fn draw(&self, now: Duration, turn: bool) {
        if self.board.rows.is_empty() {
            return;
        }
        let canvas = self.printer.live_canvas();
        let rows = self.printer.rows();
        let frame = view::frame(&self.board, now, self.options.deadline, &canvas, rows);
        self.printer.live(frame, turn);
    }

    /// The list that stays, and how the run ended.
    fn close(&self, at: Duration) {
        self.printer.live(Vec::new(), false);
        let canvas = self.printer.err();
        let mut lines = if self.board.unchanged() {
            Vec::new()
        } else {
            view::summary(&self.board, at, &canvas)
        };
        if let Some(path) = &self.board.bundle {
            lines.push(failure::bundle(path, &canvas));
        }
        if let Some((ok, at)) = self.board.finished
            && let Some(outcome) = self.board.outcome(ok, at)
        {
            let (role, glyph) = match (ok, self.board.interrupted) {
                (true, _) => (Role::Good, Glyph::Ready),
                (false, true) => (Role::Warn, Glyph::Warning),
                (false, false) => (Role::Bad, Glyph::Failed),
            };
            let sign = canvas.sign(role, glyph);
            let outcome = canvas.paint(role, &outcome);
            lines.push(canvas.wrap(&outcome, &format!("{sign} "), "  "));
        }
        self.printer.message(&lines.join("\n"));
    }
}

impl Reporter for Live {
    fn event(&mut self, event: &Event, elapsed: Duration) {
        self.board.apply(event);
        match event {
            Event::Failed(it) => failure::show(it, &self.printer),
            Event::Note { name, text, .. } => {
                let about = name
                    .as_ref()
                    .map_or(String::new(), |name| format!("{name}: "));
                self.printer
                    .note(&text::harmless(&format!("{about}{text}"), false));
            }
            // These a person should see at once; the rest can wait for the beat.
            Event::Node { state, .. } if state.is_final() => self.draw(elapsed, false),
            Event::Node {
                state: NodeState::Waiting { .. },
                ..
            } => {}
            Event::Interrupted => self.draw(elapsed, false),
            _ => {}
        }
    }

    fn tick(&mut self, elapsed: Duration) {
        self.draw(elapsed, true);
    }

    fn end(&mut self, elapsed: Duration) {
        let at = self.board.finished.map_or(elapsed, |(_, at)| at);
        self.close(at);
    }
}
