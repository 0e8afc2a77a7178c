//! What can go wrong while something is shown or asked.

use std::io;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// A failure to write to stdout, or to get an answer.
#[derive(Debug, Error)]
pub enum OutputError {
    /// Whoever read our output has gone, e.g. `dm logs | head`. Not a failure
    /// to a person: nothing is printed, and the exit code is the one that a
    /// shell gives a program which died of SIGPIPE.
    #[error("the reader of stdout closed it")]
    ReaderClosed,
    /// Stdout can't be written, e.g. because the disk is full.
    #[error("could not write to stdout")]
    Write(#[source] io::Error),
    /// A value can't be expressed as JSON.
    #[error("could not convert the {what} document to JSON")]
    Json {
        /// The schema of the document, e.g. `dm.status/1`.
        what: &'static str,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// A question was to be asked and nobody is there to answer.
    #[error("could not ask for a confirmation without a terminal: {question}")]
    NotInteractive {
        /// What would have been asked.
        question: String,
    },
    /// The answer to a question can't be read.
    #[error("could not read the answer from the terminal")]
    ReadAnswer(#[source] io::Error),
}

impl OutputError {
    /// The failure of a write to stdout.
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
