//! Errors of output and prompts.

use std::io;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// An error of a write to stdout or of a prompt.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The reader has closed stdout, e.g. `dm logs | head`. Not a failure for the
    /// user: nothing is printed, and the exit code is the one that a shell reports
    /// for a program that SIGPIPE ended.
    #[error("the reader of stdout closed it")]
    ReaderClosed,
    /// Stdout cannot be written, e.g. because the disk is full.
    #[error("could not write to stdout")]
    Write(#[source] io::Error),
    /// A value cannot be expressed as JSON.
    #[error("could not convert the {what} document to JSON")]
    Json {
        /// The schema of the document, e.g. `dm.status/1`.
        what: &'static str,
        /// The error of serde.
        #[source]
        source: serde_json::Error,
    },
    /// A confirmation is required and there is no terminal for the prompt.
    #[error("could not ask for a confirmation without a terminal: {question}")]
    NotInteractive {
        /// The question of the prompt.
        question: String,
    },
    /// The answer to a prompt cannot be read.
    #[error("could not read the answer from the terminal")]
    ReadAnswer(#[source] io::Error),
}

impl OutputError {
    /// Creates the error of a failed write to stdout.
    #[must_use]
    pub(crate) fn from_write_error(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderClosed
        } else {
            Self::Write(error)
        }
    }
}

impl UserError for OutputError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ReaderClosed => ErrorCode::OutputClosed,
            Self::Write(_) => ErrorCode::OutputWrite,
            Self::Json { .. } => ErrorCode::OutputJson,
            Self::NotInteractive { .. } => ErrorCode::ConfirmationNeeded,
            Self::ReadAnswer(_) => ErrorCode::ConfirmationUnreadable,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::ReaderClosed => ExitStatus::OutputClosed,
            Self::Write(_) | Self::Json { .. } => ExitStatus::Findings,
            Self::NotInteractive { .. } | Self::ReadAnswer(_) => ExitStatus::Usage,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::NotInteractive { .. } | Self::ReadAnswer(_) => {
                vec!["confirm with --yes".into()]
            }
            Self::ReaderClosed | Self::Write(_) | Self::Json { .. } => Vec::new(),
        }
    }
}
