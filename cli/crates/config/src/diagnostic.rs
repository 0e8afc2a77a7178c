//! What is wrong with a configuration, as a person is told.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

/// One thing that is wrong with a configuration, and where.
#[derive(Debug, Clone)]
pub struct ConfigDiagnostic {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) key: Option<String>,
    pub(super) source: Option<NamedSource<Arc<str>>>,
    pub(super) labels: Vec<(Range<usize>, Option<String>)>,
    /// The index of the source, and the byte in it: what problems are sorted by.
    pub(super) position: Option<(usize, usize)>,
}

impl ConfigDiagnostic {
    /// The stable name of the kind of problem.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// The key that it is about, e.g. `postgres.port`.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for ConfigDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigDiagnostic {}

impl Diagnostic for ConfigDiagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_deref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.labels.iter().enumerate().map(|(index, (span, text))| {
            let length = span.end.saturating_sub(span.start);
            if index == 0 {
                LabeledSpan::new_primary_with_span(text.clone(), (span.start, length))
            } else {
                LabeledSpan::new(text.clone(), span.start, length)
            }
        });
        Some(Box::new(labels))
    }
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Debug, Clone)]
pub struct ConfigDiagnostics(Vec<ConfigDiagnostic>);

impl ConfigDiagnostics {
    /// The problems, in order: those without a place first, then by source and
    /// place.
    pub(super) fn new(mut problems: Vec<ConfigDiagnostic>) -> Self {
        problems.sort_by_key(|problem| problem.position);
        Self(problems)
    }

    fn single(&self) -> Option<&ConfigDiagnostic> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigDiagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(only) => only.fmt(f),
            None => write!(f, "the configuration has {} problems", self.0.len()),
        }
    }
}

impl std::error::Error for ConfigDiagnostics {}

/// A single problem is the diagnostic itself; several are related to a headline.
impl Diagnostic for ConfigDiagnostics {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self.single() {
            Some(only) => Diagnostic::code(only),
            None => Some(Box::new(ErrorCode::ConfigInvalid)),
        }
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::help(self.single()?)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.single()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.single()?.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.0.len() < 2 {
            return None;
        }
        let related = self.0.iter().map(|problem| problem as &dyn Diagnostic);
        Some(Box::new(related))
    }
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No directory from `from` upwards holds a `dm.toml`.
    #[error("no dm.toml in {} or any directory above it", from.display())]
    ProjectNotFound {
        /// Where the search began.
        from: PathBuf,
    },
    /// The directory that was named holds no `dm.toml`.
    #[error("no dm.toml in {}", directory.display())]
    NotAProject {
        /// The directory.
        directory: PathBuf,
    },
    /// A file is there and can't be read.
    #[error("could not read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something is wrong in a file, a variable or a flag.
    #[error(transparent)]
    Invalid(ConfigDiagnostics),
    /// A key was asked for that there isn't.
    #[error("there is no key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The nearest right one.
        suggestion: Option<String>,
    },
}

impl ConfigError {
    /// The problems that were found, where the configuration is invalid.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn diagnostics(&self) -> &[ConfigDiagnostic] {
        match self {
            Self::Invalid(problems) => &problems.0,
            _ => &[],
        }
    }
}

impl UserError for ConfigError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ProjectNotFound { .. } | Self::NotAProject { .. } => ErrorCode::ConfigNoProject,
            Self::Unreadable { .. } => ErrorCode::ConfigUnreadable,
            Self::Invalid(problems) => problems
                .single()
                .map_or(ErrorCode::ConfigInvalid, |only| only.code),
            Self::UnknownKey { .. } => ErrorCode::ConfigNoSuchKey,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::ProjectNotFound { .. } => vec![
                "run dm in a directory of the project".into(),
                "or set --project-directory or DM_PROJECT_DIR to the directory of the project"
                    .into(),
            ],
            Self::NotAProject { .. } => {
                vec!["give the directory that contains dm.toml".into()]
            }
            Self::Unreadable { .. } => Vec::new(),
            Self::Invalid(_) => {
                vec!["see docs/configuration.md for all keys".into()]
            }
            Self::UnknownKey {
                suggestion: nearest,
                ..
            } => match nearest {
                Some(nearest) => vec![format!("dm config show {nearest}")],
                None => vec!["dm config show".into()],
            },
        }
    }

    fn diagnostic(&self) -> Option<&dyn Diagnostic> {
        match self {
            Self::Invalid(problems) => Some(problems),
            _ => None,
        }
    }
}
