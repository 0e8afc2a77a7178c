//! Colours and glyphs, named by what they mean.

use std::fmt::Write as _;

/// What a piece of text means. How it looks follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StyleRole {
    /// As it should be.
    Success,
    /// Needs attention, and is no failure.
    Warning,
    /// A failure.
    Error,
    /// Under way.
    Active,
    /// Beside the point.
    Muted,
    /// A heading, or what the eye should find first.
    Emphasis,
    /// A command that a person can type.
    Command,
    /// One of several things to be told apart; equal numbers look equal.
    Series(u8),
}

/// How many different looks [`Role::Distinct`] has. Red is left out, because
/// it means failure.
pub const SERIES_COLOURS: u8 = 10;

impl StyleRole {
    /// The parameters of the SGR sequence. Only the 16 basic colours, so that
    /// the person's own theme decides what is readable.
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

/// A sign of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    /// Done, ready, fine.
    Check,
    /// Not begun.
    Waiting,
    /// Failed.
    Failed,
    /// Needs attention.
    Warning,
    /// Never begun, skipped, or gone.
    Skipped,
    /// The left edge of something quoted.
    QuoteBar,
    /// A step down in a tree.
    Branch,
    /// Something was cut off here.
    Ellipsis,
    /// The done part of a progress bar.
    BarFilled,
    /// The rest of a progress bar.
    BarEmpty,
    /// A part of a chart in which something is prepared.
    ChartPrepare,
    /// A part of a chart in which the thing itself runs.
    ChartRun,
    /// What separates two facts on a line.
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

/// Whether to colour, and which glyphs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// True where SGR sequences may be written.
    pub colour: bool,
    /// True where more than ASCII may be written.
    pub unicode: bool,
}

impl Style {
    /// The text in the look of its role; nothing is added to an empty text.
    #[must_use]
    pub fn paint(self, role: StyleRole, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let mut painted = String::with_capacity(text.len() + 10);
        // Writing to a string can't fail.
        let _ = write!(painted, "\x1b[{}m{text}\x1b[0m", role.sgr());
        painted
    }

    /// The sign, without colour.
    #[must_use]
    pub const fn glyph(self, glyph: Glyph) -> &'static str {
        let (unicode, ascii) = glyph.unicode_and_ascii();
        if self.unicode { unicode } else { ascii }
    }

    /// The signs of something under way, one after the other.
    #[must_use]
    pub(crate) const fn spinner_frames(self) -> &'static [&'static str] {
        if self.unicode {
            &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
        } else {
            &["|", "/", "-", "\\"]
        }
    }
}
