//! Lines at the end of a terminal that `indicatif` redraws in place.
//!
//! Each visible line is one progress bar. What a line says and how long it is
//! is decided elsewhere; why the terminal is one of our own is written in
//! `docs/adr/0002-draw-live-progress-with-indicatif-on-our-own-terminal.md`.

mod terminal;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::style::{Glyph, Role, Style};

pub use terminal::{Size, Terminal};

/// The columns of a progress bar.
pub const BAR: usize = 20;

/// One line. Together with its spinner and bar it is narrower than the
/// terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Text as it is.
    Text(String),
    /// Text behind a spinner and a space.
    Busy(String),
    /// A spinner, a space, text, a bar of [`BAR`] columns, and text.
    Counted {
        /// The text before the bar.
        before: String,
        /// How much is done …
        done: u64,
        /// … of how much.
        of: u64,
        /// The text behind the bar.
        after: String,
    },
}

impl Line {
    /// What indicatif makes of such a line.
    fn style(&self, style: Style) -> ProgressStyle {
        let template = match self {
            Self::Text(_) => "{msg}".to_owned(),
            Self::Busy(_) => "{spinner} {msg}".to_owned(),
            Self::Counted { .. } if style.colour => {
                // Left to itself, console looks at the stdout of the process.
                console::set_colors_enabled(true);
                format!("{{spinner}} {{prefix}}{{bar:{BAR}.cyan/dim}}{{msg}}")
            }
            Self::Counted { .. } => format!("{{spinner}} {{prefix}}{{bar:{BAR}}}{{msg}}"),
        };
        let spinner: Vec<String> = style
            .spinner()
            .iter()
            // The last one is for a spinner that has ended, which none does.
            .chain([&" "])
            .map(|tick| style.paint(Role::Active, tick))
            .collect();
        let spinner: Vec<&str> = spinner.iter().map(String::as_str).collect();
        let bar = [Glyph::Full, Glyph::Rest].map(|glyph| style.glyph(glyph));
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .tick_strings(&spinner)
            .progress_chars(&bar.concat())
    }
}

/// The lines that are redrawn at the end of a terminal.
#[derive(Debug)]
pub struct Lines {
    terminal: Terminal,
    all: MultiProgress,
    shown: Mutex<Vec<(ProgressBar, Line)>>,
}

impl Lines {
    /// No lines yet.
    #[must_use]
    pub fn new(terminal: Terminal) -> Self {
        // Without a rate of its own: a frame is drawn when it is asked for.
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        Self {
            terminal,
            all: MultiProgress::with_draw_target(target),
            shown: Mutex::default(),
        }
    }

    /// Replaces what is shown, by one write, or by none if it is the same.
    /// Spinners turn by one if `turn` is true.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn show(&self, lines: Vec<Line>, style: Style, turn: bool) -> io::Result<()> {
        let mut shown = self.lock();
        // Each change of a bar draws: only the last drawing is to be seen.
        self.terminal.freeze(true);
        let stay = shown.len().min(lines.len());
        for (bar, _) in shown.drain(stay..) {
            self.all.remove(&bar);
        }
        for (index, line) in lines.into_iter().enumerate() {
            let (bar, before) = match shown.get_mut(index) {
                Some((bar, before)) => (bar.clone(), Some(std::mem::replace(before, line.clone()))),
                None => {
                    let hidden = ProgressDrawTarget::hidden();
                    let bar = self.all.add(ProgressBar::with_draw_target(None, hidden));
                    shown.push((bar.clone(), line.clone()));
                    (bar, None)
                }
            };
            let turned = change(&bar, before.as_ref(), &line, style);
            if turn && !turned {
                bar.tick();
            }
        }
        self.terminal.freeze(false);
        match shown.last() {
            Some((bar, _)) => bar.force_draw(),
            None => self.all.clear()?,
        }
        self.terminal.check()
    }

    /// Takes the lines away while `write` writes to the terminal, whichever
    /// way.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let shown = self.lock();
        if shown.is_empty() {
            write()
        } else {
            self.all.suspend(write)
        }
    }

    /// Writes text that stays above the lines.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub(crate) fn above(&self, text: &str) -> io::Result<()> {
        self.suspend(|| self.terminal.write(text))
    }

    /// Rows and columns of the terminal, if it is one.
    #[must_use]
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        self.terminal.size()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(ProgressBar, Line)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lines {
    /// What is on the terminal stays there: bars that go would be wiped out.
    fn drop(&mut self) {
        self.terminal.freeze(true);
    }
}

/// Gives a bar the looks of a line. Returns whether that turned its spinner:
/// a new position does.
fn change(bar: &ProgressBar, before: Option<&Line>, line: &Line, style: Style) -> bool {
    if before == Some(line) {
        return false;
    }
    if before.map(std::mem::discriminant) != Some(std::mem::discriminant(line)) {
        bar.set_style(line.style(style));
    }
    match line {
        // indicatif makes no line of nothing.
        Line::Text(text) if text.is_empty() => bar.set_message(" "),
        Line::Text(text) | Line::Busy(text) => bar.set_message(text.clone()),
        Line::Counted {
            before,
            done,
            of,
            after,
        } => {
            bar.set_prefix(before.clone());
            bar.set_message(after.clone());
            let moved = bar.position() != *done || bar.length() != Some(*of);
            if moved {
                bar.update(|state| {
                    state.set_len(*of);
                    state.set_pos(*done);
                });
            }
            return moved;
        }
    }
    false
}

#[cfg(test)]
mod tests;
