//! The surface on which output is drawn, with its colours and glyphs.

pub use super::palette::{Glyph, SERIES_COLOURS, Style, StyleRole};
use super::text;

/// The surface on which output is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// Colours and glyphs.
    pub style: Style,
    /// The columns of the terminal, or the assumed ones in a pipe.
    pub width: usize,
    /// True if the terminal would break a longer line. In a pipe lines keep
    /// their full length, so that `grep` finds everything. Only charts, which
    /// have no length of their own, are limited to the width.
    pub is_bounded: bool,
}

impl Canvas {
    /// Returns the maximum width of a line, if it is limited.
    #[must_use]
    pub const fn max_columns(&self) -> Option<usize> {
        if self.is_bounded {
            Some(self.width)
        } else {
            None
        }
    }

    /// Wraps prose between words at the width of the terminal. `first` is the
    /// prefix of the first line, `rest` that of the others. In a pipe the prose
    /// stays on one line, for `grep`.
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

    /// Returns the glyph in the style of a role.
    #[must_use]
    pub fn paint_glyph(&self, role: StyleRole, glyph: Glyph) -> String {
        self.style.paint(role, self.style.glyph(glyph))
    }
}
