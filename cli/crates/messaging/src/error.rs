//! Why the event flow can't be seen, or not be repaired.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_components::rabbitmq::management::ManagementApiError;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// What went wrong with messages.
#[derive(Debug, Error)]
pub enum MessagingError {
    /// The broker is away, or refuses.
    #[error("could not communicate with RabbitMQ")]
    Broker(#[from] lapin::Error),
    /// The database is away, or refuses.
    #[error("could not query PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// The broker's state can't be read by its own tool.
    #[error("could not list the messages in the queues: {0}")]
    QueueInspection(String),
    /// The engine can't run the broker's tool.
    #[error("could not run rabbitmqctl in the container of RabbitMQ")]
    Engine(#[from] dm_engine::EngineError),
    /// There are messages that could not be read, and events that may be among them.
    #[error(
        "{events} events of {queue} may be among {unread} messages that could not be read in \
         RabbitMQ"
    )]
    UnreadableMessages {
        /// The work queue.
        queue: &'static str,
        /// How many events are not found.
        events: usize,
        /// How many messages were not read.
        unread: u64,
    },
    /// The broker's management interface is away, or refuses.
    #[error(transparent)]
    Management(#[from] ManagementApiError),
    /// A service has no events, or there is no such service.
    #[error("there is no service `{name}` with events")]
    UnknownService {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No outbox has it.
    #[error("no outbox contains event `{0}`")]
    EventNotFound(String),
    /// There is no such queue.
    #[error("there is no work queue `{name}`")]
    UnknownQueue {
        /// What was asked for.
        name: String,
    },
    /// Somebody else has the dead letters in hand.
    #[error("could not lock the dead letters: another dm process has held the lock for {} s", .0.as_secs())]
    DeadLettersLocked(Duration),
    /// The broker stopped in the middle.
    #[error("could not read {queue}: {read} of {expected} messages arrived, and then none for {} s", timeout.as_secs())]
    QueueStalled {
        /// The queue.
        queue: String,
        /// How many came.
        read: u64,
        /// How many were there.
        expected: u64,
        /// How long was waited for the next one.
        timeout: Duration,
    },
    /// No dead letter has that id.
    #[error("no dead letter has the id `{0}`")]
    DeadLetterNotFound(String),
    /// What a person made of a letter is no event.
    #[error("could not replay the edited event: {what}")]
    InvalidEdit {
        /// What is wrong.
        what: String,
        /// Where it still is.
        draft: std::path::PathBuf,
    },
    /// There is more than one to be edited, or none.
    #[error("`--edit` requires exactly one dead letter, and the filter matches {0}")]
    EditTargetNotUnique(usize),
    /// There are other dead letters than those that were to be replayed.
    #[error("the dead letters have changed: their digest is {found}, and {expected} was expected")]
    DigestMismatch {
        /// What was asked for.
        expected: String,
        /// What there is.
        found: String,
    },
    /// No run has that id.
    #[error("there is no replay run `{0}`")]
    ReplayRunNotFound(String),
    /// A line of a file of dead letters is none.
    #[error("line {line} is not a dead letter: {what}")]
    InvalidLine {
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// No parked letter has that id.
    #[error("no parked message has the id `{0}`")]
    ParkedLetterNotFound(String),
    /// A file holds lines, and none of them is a dead letter.
    #[error("{file} contains no dead letter: {first}")]
    NoValidLine {
        /// The file.
        file: String,
        /// What is wrong with the first line.
        first: String,
    },
    /// A copy that is to outlast the letters can't go to stdout, a pipe or a device.
    #[error(
        "could not remove the dead letters: their copy must be a regular file, not stdout, a pipe or a device"
    )]
    CopyNotRegularFile,
    /// A named file can't be read or written.
    #[error("could not {doing} {}", path.display())]
    FileAccess {
        /// What was to be done with it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A temporary file, or what it is written to, fails.
    #[error("could not read or write a temporary file")]
    Io(#[from] std::io::Error),
    /// Nobody said yes.
    #[error("the removal of {0} dead letters from their queues was not confirmed")]
    NotConfirmed(usize),
    /// Somebody interrupted it.
    #[error("interrupted; run {run} replayed {replayed} of {of} dead letters, and none is lost")]
    ReplayInterrupted {
        /// The run.
        run: String,
        /// How many went back so far.
        replayed: u64,
        /// How many it is about.
        of: u64,
    },
}

impl MessagingError {
    /// What could not be done with a file.
    pub fn file_access(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::FileAccess {
            doing,
            path,
            source,
        }
    }
}

/// Whether another name, or another folder, would help.
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
            Self::EventNotFound(_) => ErrorCode::EventNotFound,
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
            | Self::DigestMismatch { .. } => ExitStatus::Findings,
            Self::ReplayInterrupted { .. } => ExitStatus::Interrupted,
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
            Self::UnknownQueue { .. } => {
                let names = dm_contracts::topology::WORK_QUEUES.map(|queue| queue.name);
                vec![format!("the work queues are {}", names.join(", "))]
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
                vec!["existing files are not overwritten: give another file, or `-` for stdout".into()]
            }
            Self::FileAccess { .. } | Self::Io(_) => Vec::new(),
            Self::NotConfirmed(_) => vec!["run the command again with --yes".into()],
            Self::ReplayInterrupted { run, .. } => vec![format!("dm dlq replay --resume {run}")],
        }
    }
}
