//! Colours and glyphs, named by their meaning.

use std::fmt::Write as _;

/// The meaning of a text, which determines its style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StyleRole {
    /// A success.
    Success,
    /// A condition that needs attention and is not a failure.
    Warning,
    /// A failure.
    Error,
    /// An operation in progress.
    Active,
    /// Secondary information.
    Muted,
    /// A heading, or the most important text.
    Emphasis,
    /// A command to type.
    Command,
    /// One of several series. Equal numbers have equal styles.
    Series(u8),
}

/// The number of different styles of [`StyleRole::Series`]. Red is not among
/// them, because it means failure.
pub const SERIES_COLOURS: u8 = 10;

impl StyleRole {
    /// Returns the parameters of the SGR sequence. Only the 16 basic colours are
    /// used, which the theme of the terminal makes readable.
    const fn sgr(self) -> &'static str {
        match self {
            Self::Success => "32",
            Self::Warning => "33",
            Self::Error => "1;31",
            Self::Active => "36",
            Self::Muted => "2",
            Self::Emphasis => "1",
            Self::Command => "1;36",
            Self::Series(number) => match number % SERIES_COLOURS {
                0 => "36",
                1 => "33",
                2 => "32",
                3 => "35",
                4 => "34",
                5 => "96",
                6 => "93",
                7 => "92",
                8 => "95",
                _ => "94",
            },
        }
    }
}

/// A symbol that occupies one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    /// Done, ready or successful.
    Check,
    /// Not started.
    Waiting,
    /// Failed.
    Failed,
    /// Needs attention.
    Warning,
    /// Never started, skipped or removed.
    Skipped,
    /// The left edge of a quoted text.
    QuoteBar,
    /// A branch of a tree.
    Branch,
    /// The end of a truncated text.
    Ellipsis,
    /// The completed part of a progress bar.
    BarFilled,
    /// The remaining part of a progress bar.
    BarEmpty,
    /// A preparation phase in a chart.
    ChartPrepare,
    /// A running phase in a chart.
    ChartRun,
    /// The separator of two values on a line.
    Separator,
}

impl Glyph {
    const fn unicode_and_ascii(self) -> (&'static str, &'static str) {
        match self {
            Self::Check => ("✓", "+"),
            Self::Waiting => ("○", "."),
            Self::Failed => ("✗", "x"),
            Self::Warning => ("▲", "!"),
            Self::Skipped => ("–", "-"),
            Self::QuoteBar => ("│", "|"),
            Self::Branch => ("└", "`"),
            Self::Ellipsis => ("…", "~"),
            Self::BarFilled => ("━", "="),
            Self::BarEmpty => ("─", "-"),
            Self::ChartPrepare => ("░", "-"),
            Self::ChartRun => ("█", "#"),
            Self::Separator => ("·", "-"),
        }
    }
}

/// Whether to use colours and Unicode glyphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// True if SGR sequences may be written.
    pub colour: bool,
    /// True if non-ASCII characters may be written.
    pub unicode: bool,
}

impl Style {
    /// Returns the text in the style of its role. An empty text stays empty.
    #[must_use]
    pub fn paint(self, role: StyleRole, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let mut painted = String::with_capacity(text.len() + 10);
        // Writing to a string cannot fail.
        let _ = write!(painted, "\x1b[{}m{text}\x1b[0m", role.sgr());
        painted
    }

    /// Returns the symbol without colour.
    #[must_use]
    pub const fn glyph(self, glyph: Glyph) -> &'static str {
        let (unicode, ascii) = glyph.unicode_and_ascii();
        if self.unicode { unicode } else { ascii }
    }

    /// Returns the frames of a spinner.
    #[must_use]
    pub(crate) const fn spinner_frames(self) -> &'static [&'static str] {
        if self.unicode {
            &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
        } else {
            &["|", "/", "-", "\\"]
        }
    }
}
