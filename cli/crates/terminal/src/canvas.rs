//! The surface that something is drawn on, with its colours and glyphs.

pub use super::palette::{Glyph, SERIES_COLOURS, Style, StyleRole};
use super::text;

/// The surface that something is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// Colours and glyphs.
    pub style: Style,
    /// The columns of the terminal, or what to take for them in a pipe.
    pub width: usize,
    /// True where a longer line would be broken by the terminal. In a pipe
    /// lines keep their full length, so that nothing is lost to `grep`; only
    /// charts, which have no length of their own, keep to the width.
    pub is_bounded: bool,
}

impl Canvas {
    /// The columns that a line may not exceed, if there is such a limit.
    #[must_use]
    pub const fn max_columns(&self) -> Option<usize> {
        if self.is_bounded {
            Some(self.width)
        } else {
            None
        }
    }

    /// Prose broken between words where a terminal would break it, the first
    /// line behind `first` and the others behind `rest`. In a pipe it stays on
    /// one line, for `grep`.
    #[must_use]
    pub fn wrap(&self, prose: &str, first: &str, rest: &str) -> String {
        match self.max_columns() {
            Some(columns) => text::wrap(prose, columns, first, rest),
            None => format!("{first}{prose}"),
        }
    }

    /// Shorthand for [`Style::paint`].
    #[must_use]
    pub fn paint(&self, role: StyleRole, text: &str) -> String {
        self.style.paint(role, text)
    }

    /// A painted sign.
    #[must_use]
    pub fn paint_glyph(&self, role: StyleRole, glyph: Glyph) -> String {
        self.style.paint(role, self.style.glyph(glyph))
    }
}
