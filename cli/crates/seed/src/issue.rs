//! Validation issues of imported files, with their positions.

use std::fmt;
use std::path::PathBuf;

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPosition {
    /// The line, from 1.
    pub line: u64,
    /// The character in the line, from 1. Set only for JSON, where one line may hold many records.
    pub character: Option<u64>,
}

impl TextPosition {
    /// Returns the position of a line in a file with one record per line.
    #[must_use]
    pub(crate) const fn from_line(line: u64) -> Self {
        Self {
            line,
            character: None,
        }
    }
}

impl fmt::Display for TextPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.character {
            Some(character) => write!(f, "{}:{character}", self.line),
            None => write!(f, "{}", self.line),
        }
    }
}

/// A validation issue of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValidationIssue {
    /// The file.
    pub file: PathBuf,
    /// The position in the file.
    pub position: TextPosition,
    /// The name of the column, its number from 1 if it has no name, or `row` for the whole row.
    /// `None` if the issue concerns no column.
    pub column: Option<String>,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for ValidationIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            position,
            column,
            reason,
        } = self;
        write!(f, "{}:{position}: ", file.display())?;
        if let Some(column) = column {
            write!(f, "{column}: ")?;
        }
        f.write_str(reason)
    }
}
