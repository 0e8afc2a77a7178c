//! Lines at the end of a terminal that `indicatif` redraws in place.
//!
//! Each visible line is one progress bar. What a line says and how long it is
//! is decided elsewhere; why the terminal is one of our own is written in
//! `docs/adr/0002-draw-live-progress-with-indicatif-on-our-own-terminal.md`.

mod progress_terminal;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::canvas::{Glyph, Style, StyleRole};

pub use progress_terminal::{ProgressTerminal, SizeQuery};

/// The columns of a progress bar.
pub const BAR_WIDTH: usize = 20;

/// One line. Together with its spinner and bar it is narrower than the
/// terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveLine {
    /// Text as it is.
    Text(String),
    /// Text behind a spinner and a space.
    Spinner(String),
    /// A spinner, a space, text, a bar of [`BAR`] columns, and text.
    Bar {
        /// The text before the bar.
        prefix: String,
        /// How much is done …
        current: u64,
        /// … of how much.
        total: u64,
        /// The text behind the bar.
        suffix: String,
    },
}

impl LiveLine {
    /// What indicatif makes of such a line.
    fn progress_style(&self, style: Style) -> ProgressStyle {
        let template = match self {
            Self::Text(_) => "{msg}".to_owned(),
            Self::Spinner(_) => "{spinner} {msg}".to_owned(),
            Self::Bar { .. } if style.colour => {
                // Left to itself, console looks at the stdout of the process.
                console::set_colors_enabled(true);
                format!("{{spinner}} {{prefix}}{{bar:{BAR_WIDTH}.cyan/dim}}{{msg}}")
            }
            Self::Bar { .. } => format!("{{spinner}} {{prefix}}{{bar:{BAR_WIDTH}}}{{msg}}"),
        };
        let spinner: Vec<String> = style
            .spinner_frames()
            .iter()
            // The last one is for a spinner that has ended, which none does.
            .chain([&" "])
            .map(|tick| style.paint(StyleRole::Active, tick))
            .collect();
        let spinner: Vec<&str> = spinner.iter().map(String::as_str).collect();
        let bar = [Glyph::BarFilled, Glyph::BarEmpty].map(|glyph| style.glyph(glyph));
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .tick_strings(&spinner)
            .progress_chars(&bar.concat())
    }
}

/// The lines that are redrawn at the end of a terminal.
#[derive(Debug)]
pub struct LiveLines {
    terminal: ProgressTerminal,
    progress: MultiProgress,
    shown: Mutex<Vec<(ProgressBar, LiveLine)>>,
}

impl LiveLines {
    /// No lines yet.
    #[must_use]
    pub fn new(terminal: ProgressTerminal) -> Self {
        // Without a rate of its own: a frame is drawn when it is asked for.
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        Self {
            terminal,
            progress: MultiProgress::with_draw_target(target),
            shown: Mutex::default(),
        }
    }

    /// Replaces what is shown, by one write, or by none if it is the same.
    /// Spinners turn by one if `turn` is true.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub fn draw(&self, lines: Vec<LiveLine>, style: Style, turn: bool) -> io::Result<()> {
        let mut shown = self.lock();
        // Each change of a bar draws: only the last drawing is to be seen.
        self.terminal.set_frozen(true);
        let stay = shown.len().min(lines.len());
        for (bar, _) in shown.drain(stay..) {
            self.progress.remove(&bar);
        }
        for (index, line) in lines.into_iter().enumerate() {
            let (bar, before) = match shown.get_mut(index) {
                Some((bar, before)) => (bar.clone(), Some(std::mem::replace(before, line.clone()))),
                None => {
                    let hidden = ProgressDrawTarget::hidden();
                    let bar = self
                        .progress
                        .add(ProgressBar::with_draw_target(None, hidden));
                    shown.push((bar.clone(), line.clone()));
                    (bar, None)
                }
            };
            let turned = update_bar(&bar, before.as_ref(), &line, style);
            if turn && !turned {
                bar.tick();
            }
        }
        self.terminal.set_frozen(false);
        match shown.last() {
            Some((bar, _)) => bar.force_draw(),
            None => self.progress.clear()?,
        }
        self.terminal.take_error()
    }

    /// Takes the lines away while `write` writes to the terminal, whichever
    /// way.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        let shown = self.lock();
        if shown.is_empty() {
            write()
        } else {
            self.progress.suspend(write)
        }
    }

    /// Writes text that stays above the lines.
    ///
    /// # Errors
    /// If the terminal can't be written to.
    pub(crate) fn write_above(&self, text: &str) -> io::Result<()> {
        self.suspend(|| self.terminal.write(text))
    }

    /// Rows and columns of the terminal, if it is one.
    #[must_use]
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        self.terminal.size()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(ProgressBar, LiveLine)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveLines {
    /// What is on the terminal stays there: bars that go would be wiped out.
    fn drop(&mut self) {
        self.terminal.set_frozen(true);
    }
}

/// Gives a bar the looks of a line. Returns whether that turned its spinner:
/// a new position does.
fn update_bar(bar: &ProgressBar, before: Option<&LiveLine>, line: &LiveLine, style: Style) -> bool {
    if before == Some(line) {
        return false;
    }
    if before.map(std::mem::discriminant) != Some(std::mem::discriminant(line)) {
        bar.set_style(line.progress_style(style));
    }
    match line {
        // indicatif makes no line of nothing.
        LiveLine::Text(text) if text.is_empty() => bar.set_message(" "),
        LiveLine::Text(text) | LiveLine::Spinner(text) => bar.set_message(text.clone()),
        LiveLine::Bar {
            prefix: before,
            current: done,
            total: of,
            suffix: after,
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
