//! Errors of a configuration, as the user sees them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

/// An error in a configuration, with its location.
#[derive(Debug, Clone)]
pub struct ConfigDiagnostic {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) key: Option<String>,
    pub(super) source: Option<NamedSource<Arc<str>>>,
    pub(super) labels: Vec<(Range<usize>, Option<String>)>,
    /// The index of the source and the byte offset in it, by which diagnostics are sorted.
    pub(super) position: Option<(usize, usize)>,
}

impl ConfigDiagnostic {
    /// Returns the stable code of the error.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the key of the error, e.g. `postgres.port`.
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

/// All errors of a configuration, at least one.
#[derive(Debug, Clone)]
pub struct ConfigDiagnostics(Vec<ConfigDiagnostic>);

impl ConfigDiagnostics {
    /// Sorts the diagnostics: first those without a position, then by source and position.
    pub(super) fn new(mut diagnostics: Vec<ConfigDiagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        Self(diagnostics)
    }

    /// Returns the diagnostic if there is exactly one.
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

/// A single error is shown as itself. Several are shown below a summary.
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
        let related = self
            .0
            .iter()
            .map(|diagnostic| diagnostic as &dyn Diagnostic);
        Some(Box::new(related))
    }
}

/// An error of loading a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No directory from `from` upwards contains a `dm.toml`.
    #[error("no dm.toml in {} or any directory above it", from.display())]
    ProjectNotFound {
        /// The directory in which the search began.
        from: PathBuf,
    },
    /// The given directory does not contain a `dm.toml`.
    #[error("no dm.toml in {}", directory.display())]
    NotAProject {
        /// The directory.
        directory: PathBuf,
    },
    /// A file exists but cannot be read.
    #[error("could not read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file, a variable or a flag is not valid.
    #[error(transparent)]
    Invalid(ConfigDiagnostics),
    /// The requested key does not exist.
    #[error("there is no key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The most similar key.
        suggestion: Option<String>,
    },
}

impl ConfigError {
    /// Returns the diagnostics, if the configuration is invalid.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn diagnostics(&self) -> &[ConfigDiagnostic] {
        match self {
            Self::Invalid(diagnostics) => &diagnostics.0,
            _ => &[],
        }
    }
}

impl UserError for ConfigError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ProjectNotFound { .. } | Self::NotAProject { .. } => ErrorCode::ConfigNoProject,
            Self::Unreadable { .. } => ErrorCode::ConfigUnreadable,
            Self::Invalid(diagnostics) => diagnostics
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
            Self::UnknownKey { suggestion, .. } => match suggestion {
                Some(suggestion) => vec![format!("dm config show {suggestion}")],
                None => vec!["dm config show".into()],
            },
        }
    }

    fn diagnostic(&self) -> Option<&dyn Diagnostic> {
        match self {
            Self::Invalid(diagnostics) => Some(diagnostics),
            _ => None,
        }
    }
}
