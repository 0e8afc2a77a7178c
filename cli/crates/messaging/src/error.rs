//! The errors of inspecting and repairing the event flow.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_components::rabbitmq::management::ManagementApiError;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// The errors of this crate.
#[derive(Debug, Error)]
pub enum MessagingError {
    /// The broker cannot be reached or returned an error.
    #[error("could not communicate with RabbitMQ")]
    Broker(#[from] lapin::Error),
    /// The database cannot be reached or returned an error.
    #[error("could not query PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// `rabbitmqctl` could not read the state of the queues.
    #[error("could not list the messages in the queues: {0}")]
    QueueInspection(String),
    /// The engine could not run `rabbitmqctl`.
    #[error("could not run rabbitmqctl in the container of RabbitMQ")]
    Engine(#[from] dm_engine::EngineError),
    /// Some messages could not be read, and unlocated events may be among them.
    #[error(
        "{events} events of {queue} may be among {unreadable} messages that could not be read in \
         RabbitMQ"
    )]
    UnreadableMessages {
        /// The work queue.
        queue: &'static str,
        /// The number of events that were not found.
        events: usize,
        /// The number of messages that could not be read.
        unreadable: u64,
    },
    /// The management API of the broker cannot be reached or returned an error.
    #[error(transparent)]
    Management(#[from] ManagementApiError),
    /// The service is unknown, or has no events.
    #[error("there is no service `{name}` with events")]
    UnknownService {
        /// The requested name.
        name: String,
        /// The services with events.
        known: Vec<String>,
    },
    /// No outbox contains the event.
    #[error("no outbox contains event `{0}`")]
    EventNotFound(String),
    /// The broker has not refused the event, or it is published by now.
    #[error("no outbox contains a refused event `{0}`")]
    EventNotRefused(String),
    /// The work queue is unknown.
    #[error("there is no work queue `{name}`")]
    UnknownQueue {
        /// The requested name.
        name: String,
    },
    /// Another process holds the lock of the dead letters.
    #[error("could not lock the dead letters: another dm process has held the lock for {} s", .0.as_secs())]
    DeadLettersLocked(Duration),
    /// The broker stopped delivering messages.
    #[error("could not read {queue}: {read} of {expected} messages arrived, and then none for {} s", timeout.as_secs())]
    QueueStalled {
        /// The queue.
        queue: String,
        /// The number of messages that arrived.
        read: u64,
        /// The number of messages that the queue contained.
        expected: u64,
        /// The timeout for the next message.
        timeout: Duration,
    },
    /// No dead letter has this id.
    #[error("no dead letter has the id `{0}`")]
    DeadLetterNotFound(String),
    /// The edited letter is not a valid event.
    #[error("could not replay the edited event: {reason}")]
    InvalidEdit {
        /// The reason.
        reason: String,
        /// The file with the draft.
        draft: std::path::PathBuf,
    },
    /// The filter matches more than one letter to edit, or none.
    #[error("`--edit` requires exactly one dead letter, and the filter matches {0}")]
    EditTargetNotUnique(usize),
    /// The dead letters differ from those that were to be replayed.
    #[error("the dead letters have changed: their digest is {actual}, and {expected} was expected")]
    DigestMismatch {
        /// The requested digest.
        expected: String,
        /// The digest of the current dead letters.
        actual: String,
    },
    /// No run has this id.
    #[error("there is no replay run `{0}`")]
    ReplayRunNotFound(String),
    /// A line of a file is not a dead letter.
    #[error("line {line} is not a dead letter: {reason}")]
    InvalidLine {
        /// The line number, from 1.
        line: usize,
        /// The reason.
        reason: String,
    },
    /// No parked letter has this id.
    #[error("no parked message has the id `{0}`")]
    ParkedLetterNotFound(String),
    /// No line of a file is a dead letter.
    #[error("{file} contains no dead letter: {first_error}")]
    NoValidLine {
        /// The file.
        file: String,
        /// The error of the first line.
        first_error: String,
    },
    /// The copy of letters that are to be removed would go to stdout, a pipe or a device.
    #[error(
        "could not remove the dead letters: their copy must be a regular file, not stdout, a pipe or a device"
    )]
    CopyNotRegularFile,
    /// A file cannot be read or written.
    #[error("could not {action} {}", path.display())]
    FileAccess {
        /// The verb for the failed operation, for example `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A temporary file, or its destination, cannot be read or written.
    #[error("could not read or write a temporary file")]
    Io(#[from] std::io::Error),
    /// The removal of dead letters was not confirmed.
    #[error("the removal of {0} dead letters from their queues was not confirmed")]
    NotConfirmed(usize),
    /// A replay was interrupted.
    #[error("interrupted; run {run} replayed {replayed} of {total} dead letters, and none is lost")]
    ReplayInterrupted {
        /// The run.
        run: String,
        /// The number of letters that were replayed.
        replayed: u64,
        /// The number of letters of the run.
        total: u64,
    },
    /// A replay failed after its run was recorded.
    #[error(
        "could not complete replay run {run}: it replayed {replayed} of {total} dead letters, and \
         none is lost"
    )]
    ReplayFailed {
        /// The run.
        run: String,
        /// The number of letters that were replayed.
        replayed: u64,
        /// The number of letters of the run.
        total: u64,
        /// The cause.
        source: Box<MessagingError>,
    },
}

impl MessagingError {
    /// Returns a function that maps the I/O error of an operation on a file.
    pub fn file_access(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::FileAccess {
            action,
            path,
            source,
        }
    }
}

/// Returns whether the error depends on the path, so that another path may succeed.
fn is_path_error(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::PermissionDenied
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
    )
}

impl UserError for MessagingError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Broker(_) => ErrorCode::BrokerCall,
            Self::Database(_) => ErrorCode::DatabaseQuery,
            Self::Management(_) => ErrorCode::ManagementCall,
            Self::QueueInspection(_) | Self::Engine(_) => ErrorCode::QueueBrowse,
            Self::UnreadableMessages { .. } => ErrorCode::QueueMessagesUnread,
            Self::UnknownService { .. } => ErrorCode::ServiceUnknown,
            Self::EventNotFound(_) | Self::EventNotRefused(_) => ErrorCode::EventNotFound,
            Self::UnknownQueue { .. } => ErrorCode::QueueUnknown,
            Self::DeadLettersLocked(_) => ErrorCode::DeadLettersLocked,
            Self::QueueStalled { .. } => ErrorCode::QueueStalled,
            Self::DeadLetterNotFound(_) => ErrorCode::DeadLetterNotFound,
            Self::DigestMismatch { .. } => ErrorCode::ReplayDigestMismatch,
            Self::InvalidEdit { .. } => ErrorCode::ReplayEditInvalid,
            Self::EditTargetNotUnique(_) => ErrorCode::ReplayEditNotOne,
            Self::ReplayRunNotFound(_) => ErrorCode::ReplayRunUnknown,
            Self::InvalidLine { .. } => ErrorCode::DeadLetterFile,
            Self::ParkedLetterNotFound(_) => ErrorCode::ParkedMessageNotFound,
            Self::NoValidLine { .. } => ErrorCode::DeadLetterFile,
            Self::CopyNotRegularFile => ErrorCode::CopyNotRegularFile,
            Self::FileAccess { .. } | Self::Io(_) => ErrorCode::FileAccess,
            Self::NotConfirmed(_) => ErrorCode::NotConfirmed,
            Self::ReplayInterrupted { .. } => ErrorCode::Interrupted,
            Self::ReplayFailed { source, .. } => source.code(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::FileAccess { source, .. } if is_path_error(source) => ExitStatus::Usage,
            Self::Broker(_)
            | Self::Database(_)
            | Self::Management(_)
            | Self::FileAccess { .. }
            | Self::QueueInspection(_)
            | Self::Engine(_)
            | Self::UnreadableMessages { .. }
            | Self::Io(_) => ExitStatus::Component,
            Self::UnknownQueue { .. }
            | Self::UnknownService { .. }
            | Self::ReplayRunNotFound(_)
            | Self::InvalidEdit { .. }
            | Self::EditTargetNotUnique(_)
            | Self::InvalidLine { .. }
            | Self::NoValidLine { .. }
            | Self::CopyNotRegularFile
            | Self::NotConfirmed(_) => ExitStatus::Usage,
            Self::DeadLettersLocked(_) | Self::QueueStalled { .. } => ExitStatus::TimedOut,
            Self::DeadLetterNotFound(_)
            | Self::ParkedLetterNotFound(_)
            | Self::EventNotFound(_)
            | Self::EventNotRefused(_)
            | Self::DigestMismatch { .. } => ExitStatus::Findings,
            Self::ReplayInterrupted { .. } => ExitStatus::Interrupted,
            Self::ReplayFailed { source, .. } => source.exit_status(),
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Broker(_)
            | Self::Database(_)
            | Self::Management(_)
            | Self::QueueInspection(_)
            | Self::Engine(_) => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::UnreadableMessages { .. } => vec![
                "start the consumer, and run the command again".into(),
                "check rabbitmq.image in dm.toml: the version of RabbitMQ may be newer than dm supports".into(),
            ],
            Self::UnknownService { known, .. } => {
                vec![format!("the services with events are {}", known.join(", "))]
            }
            Self::EventNotFound(_) => vec![
                "list the latest events: dm outbox ls".into(),
                "published events are removed after the retention period of the outboxes".into(),
            ],
            Self::EventNotRefused(_) => vec!["dm outbox ls --state refused".into()],
            Self::UnknownQueue { .. } => {
                let names = dm_contracts::topology::EVENT_QUEUES.map(|queue| queue.name);
                vec![format!("the queues are {}", names.join(", "))]
            }
            Self::DeadLettersLocked(_) | Self::QueueStalled { .. } => vec!["run the command again later".into()],
            Self::DeadLetterNotFound(_) => vec!["dm dlq ls --each".into()],
            Self::DigestMismatch { .. } => {
                vec!["show the current dead letters: dm dlq replay --dry-run".into()]
            }
            Self::InvalidEdit { draft, .. } => {
                vec![format!("your draft is in {}", draft.display())]
            }
            Self::EditTargetNotUnique(_) => vec!["choose a dead letter with --id: dm dlq ls --each".into()],
            Self::ReplayRunNotFound(_) => vec!["dm dlq history".into()],
            Self::InvalidLine { .. } | Self::NoValidLine { .. } => {
                vec!["show the format of a line: dm dlq export -".into()]
            }
            Self::ParkedLetterNotFound(_) => vec!["dm dlq parked".into()],
            Self::CopyNotRegularFile => vec!["dm dlq purge --copy letters.jsonl".into()],
            Self::FileAccess { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                vec!["existing files are not overwritten: give another file".into()]
            }
            Self::FileAccess { .. } | Self::Io(_) => Vec::new(),
            Self::NotConfirmed(_) => vec!["run the command again with --yes".into()],
            Self::ReplayInterrupted { run, .. } => vec![format!("dm dlq replay --resume {run}")],
            Self::ReplayFailed { run, source, .. } => {
                let mut suggestions = source.suggestions();
                suggestions.push(format!("dm dlq replay --resume {run}"));
                suggestions
            }
        }
    }
}
