//! The sources of values: files, variables, flags, and the built-in defaults.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

/// The kind of a source. The order of the kinds is their precedence: later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceKind {
    /// The built-in defaults.
    Defaults,
    /// A file.
    File,
    /// One environment variable.
    Variable,
    /// One flag of the command line.
    Flag,
}

/// A text with configuration values.
#[derive(Debug, Clone)]
pub(super) struct ConfigSource {
    /// Its kind.
    pub kind: SourceKind,
    /// The name in diagnostics: a file's name, `environment`, `command line`.
    pub name: String,
    /// The text: a file's content, `DM_POSTGRES__PORT=5433`, `--set postgres.port=5433`.
    pub text: Arc<str>,
}

/// The index of a source in the list of sources.
pub(super) type SourceId = usize;

/// The span of a value in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueSpan {
    /// The source.
    pub source: SourceId,
    /// The bytes of the key.
    pub key: Range<usize>,
    /// The bytes of the value.
    pub value: Range<usize>,
}

/// The origin of an effective value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "layer", rename_all = "kebab-case")]
pub enum ValueOrigin {
    /// The value is a built-in default.
    Default,
    /// A file sets it.
    File {
        /// The file's name, e.g. `dm.toml`.
        file: String,
        /// The line of the key, counted from 1.
        line: usize,
    },
    /// A variable sets it.
    Variable {
        /// The variable's name.
        variable: String,
    },
    /// A flag sets it.
    Flag {
        /// The flag's name, e.g. `--set`.
        flag: String,
    },
}

/// Formats the origin for a table: `default`, `dm.toml:12`, `env DM_POSTGRES__PORT`,
/// `flag --set`.
impl std::fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Variable { variable } => write!(f, "env {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

impl ConfigSource {
    /// Returns the origin of a value whose key is at byte `offset`.
    pub(crate) fn origin_at(&self, offset: usize) -> ValueOrigin {
        let before_separator = |separators: &[char]| {
            let end = self.text.find(separators).unwrap_or(self.text.len());
            self.text[..end].to_owned()
        };
        match self.kind {
            SourceKind::Defaults => ValueOrigin::Default,
            SourceKind::File => ValueOrigin::File {
                file: self.name.clone(),
                line: line_number(&self.text, offset),
            },
            SourceKind::Variable => ValueOrigin::Variable {
                variable: before_separator(&['=']),
            },
            SourceKind::Flag => ValueOrigin::Flag {
                flag: before_separator(&['=', ' ']),
            },
        }
    }
}

/// Returns the line of byte `offset` of `text`, counted from 1.
pub(super) fn line_number(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}
