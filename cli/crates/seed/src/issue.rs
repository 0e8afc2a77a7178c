//! What is wrong with a person's own files, and where.

use std::fmt;
use std::path::PathBuf;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPosition {
    /// The line, from 1.
    pub line: u64,
    /// The character of the line, from 1, where a line may hold any number of records: in JSON.
    pub character: Option<u64>,
}

impl TextPosition {
    /// A line of a file that has a record a line.
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
            Some(letter) => write!(f, "{}:{letter}", self.line),
            None => write!(f, "{}", self.line),
        }
    }
}

/// Something that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValidationIssue {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub position: TextPosition,
    /// The column's name, its number from 1 where it has none, or `row` for all of them; none
    /// where it is about no column.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for ValidationIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            position: spot,
            column,
            reason,
        } = self;
        write!(f, "{}:{spot}: ", file.display())?;
        if let Some(column) = column {
            write!(f, "{column}: ")?;
        }
        f.write_str(reason)
    }
}
