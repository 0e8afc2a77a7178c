//! Lines at the end of a terminal that `indicatif` redraws in place.
//!
//! Each visible line is one progress bar. The caller decides its text and length.
//! The reason for a terminal of our own is in
//! `docs/adr/0002-draw-live-progress-with-indicatif-on-our-own-terminal.md`.

mod progress_terminal;

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::canvas::{Glyph, Style, StyleRole};

pub use progress_terminal::ProgressTerminal;
pub(crate) use progress_terminal::SizeQuery;

/// The columns of a progress bar.
pub const BAR_WIDTH: usize = 20;

/// A live line. With its spinner and bar it is narrower than the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveLine {
    /// A text.
    Text(String),
    /// A spinner, a space, and a text.
    Spinner(String),
    /// A spinner, a space, text, a bar of [`BAR_WIDTH`] columns, and text.
    Bar {
        /// The text before the bar.
        prefix: String,
        /// The amount done.
        current: u64,
        /// The total amount.
        total: u64,
        /// The text behind the bar.
        suffix: String,
    },
}

impl LiveLine {
    /// Returns the style of the line for indicatif.
    fn progress_style(&self, style: Style) -> ProgressStyle {
        let template = match self {
            Self::Text(_) => "{msg}".to_owned(),
            Self::Spinner(_) => "{spinner} {msg}".to_owned(),
            Self::Bar { .. } if style.colour => {
                // By default, the crate `console` checks the stdout of the process.
                console::set_colors_enabled(true);
                format!("{{spinner}} {{prefix}}{{bar:{BAR_WIDTH}.cyan/dim}}{{msg}}")
            }
            Self::Bar { .. } => format!("{{spinner}} {{prefix}}{{bar:{BAR_WIDTH}}}{{msg}}"),
        };
        let spinner: Vec<String> = style
            .spinner_frames()
            .iter()
            // The last frame is for a finished spinner, which does not occur.
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
    /// Creates an empty list of lines.
    #[must_use]
    pub fn new(terminal: ProgressTerminal) -> Self {
        // Without a refresh rate: a frame is drawn on request.
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        Self {
            terminal,
            progress: MultiProgress::with_draw_target(target),
            shown: Mutex::default(),
        }
    }

    /// Replaces the shown lines with one write, or with none if nothing has changed.
    /// Spinners advance by one frame if `turn` is true.
    ///
    /// # Errors
    /// Returns [`std::io::Error`] if the write to the terminal fails.
    pub fn draw(&self, lines: Vec<LiveLine>, style: Style, turn: bool) -> io::Result<()> {
        let mut shown = self.lock();
        // Each change of a bar draws: only the last drawing must be visible.
        self.terminal.set_frozen(true);
        let reused = shown.len().min(lines.len());
        for (bar, _) in shown.drain(reused..) {
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
            let advanced = update_bar(&bar, before.as_ref(), &line, style);
            if turn && !advanced {
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

    /// Hides the lines while `write` writes to the terminal.
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
    /// Returns [`std::io::Error`] if the write to the terminal fails.
    pub(crate) fn write_above(&self, text: &str) -> io::Result<()> {
        self.suspend(|| self.terminal.write(text))
    }

    /// Returns the rows and columns of the terminal, if it is one.
    #[must_use]
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        self.terminal.size()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(ProgressBar, LiveLine)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveLines {
    /// Keeps the lines on the terminal: dropped bars would be erased.
    fn drop(&mut self) {
        self.terminal.set_frozen(true);
    }
}

/// Updates a bar to show a line. Returns whether this advanced its spinner, as a
/// new position does.
fn update_bar(bar: &ProgressBar, before: Option<&LiveLine>, line: &LiveLine, style: Style) -> bool {
    if before == Some(line) {
        return false;
    }
    if before.map(std::mem::discriminant) != Some(std::mem::discriminant(line)) {
        bar.set_style(line.progress_style(style));
    }
    match line {
        // indicatif draws no line for an empty text.
        LiveLine::Text(text) if text.is_empty() => bar.set_message(" "),
        LiveLine::Text(text) | LiveLine::Spinner(text) => bar.set_message(text.clone()),
        LiveLine::Bar {
            prefix,
            current,
            total,
            suffix,
        } => {
            bar.set_prefix(prefix.clone());
            bar.set_message(suffix.clone());
            let moved = bar.position() != *current || bar.length() != Some(*total);
            if moved {
                bar.update(|state| {
                    state.set_len(*total);
                    state.set_pos(*current);
                });
            }
            return moved;
        }
    }
    false
}

#[cfg(test)]
mod tests;
