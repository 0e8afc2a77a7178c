//! Why the event flow can't be seen, or not be repaired.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_components::rabbitmq::management::ManagementError;
use dm_core::error::{Coded, Exit};
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
    Browse(String),
    /// The engine can't run the broker's tool.
    #[error("could not run rabbitmqctl in the container of RabbitMQ")]
    Engine(#[from] dm_engine::EngineError),
    /// There are messages that could not be read, and events that may be among them.
    #[error(
        "{events} events of {queue} may be among {unread} messages that could not be read in \
         RabbitMQ"
    )]
    Unread {
        /// The work queue.
        queue: &'static str,
        /// How many events are not found.
        events: usize,
        /// How many messages were not read.
        unread: u64,
    },
    /// The broker's management interface is away, or refuses.
    #[error(transparent)]
    Management(#[from] ManagementError),
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
    NoEvent(String),
    /// There is no such queue.
    #[error("there is no work queue `{name}`")]
    UnknownQueue {
        /// What was asked for.
        name: String,
    },
    /// Somebody else has the dead letters in hand.
    #[error("could not lock the dead letters: another dm process has held the lock for {} s", .0.as_secs())]
    Busy(Duration),
    /// The broker stopped in the middle.
    #[error("could not read {queue}: {read} of {expected} messages arrived, and then none for {} s", patience.as_secs())]
    Stalled {
        /// The queue.
        queue: String,
        /// How many came.
        read: u64,
        /// How many were there.
        expected: u64,
        /// How long was waited for the next one.
        patience: Duration,
    },
    /// No dead letter has that id.
    #[error("no dead letter has the id `{0}`")]
    NotFound(String),
    /// What a person made of a letter is no event.
    #[error("could not replay the edited event: {what}")]
    Edit {
        /// What is wrong.
        what: String,
        /// Where it still is.
        draft: std::path::PathBuf,
    },
    /// There is more than one to be edited, or none.
    #[error("`--edit` requires exactly one dead letter, and the filter matches {0}")]
    NotOne(usize),
    /// There are other dead letters than those that were to be replayed.
    #[error("the dead letters have changed: their digest is {found}, and {expected} was expected")]
    OtherSet {
        /// What was asked for.
        expected: String,
        /// What there is.
        found: String,
    },
    /// No run has that id.
    #[error("there is no replay run `{0}`")]
    NoRun(String),
    /// A line of a file of dead letters is none.
    #[error("line {line} is not a dead letter: {what}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// No parked letter has that id.
    #[error("no parked message has the id `{0}`")]
    NotParked(String),
    /// A file holds lines, and none of them is a dead letter.
    #[error("{file} contains no dead letter: {first}")]
    NoLetters {
        /// The file.
        file: String,
        /// What is wrong with the first line.
        first: String,
    },
    /// A copy that is to outlast the letters can't go to stdout, a pipe or a device.
    #[error(
        "could not remove the dead letters: their copy must be a regular file, not stdout, a pipe or a device"
    )]
    CopyToStream,
    /// A named file can't be read or written.
    #[error("could not {doing} {}", path.display())]
    Path {
        /// What was to be done with it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A temporary file, or what it is written to, fails.
    #[error("could not read or write a temporary file")]
    File(#[from] std::io::Error),
    /// Nobody said yes.
    #[error("the removal of {0} dead letters from their queues was not confirmed")]
    NotConfirmed(usize),
    /// Somebody interrupted it.
    #[error("interrupted; run {run} replayed {replayed} of {of} dead letters, and none is lost")]
    Interrupted {
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
    pub fn path(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Path {
            doing,
            path,
            source,
        }
    }
}

/// Whether another name, or another folder, would help.
fn is_misnamed(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::PermissionDenied
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
    )
}

impl Coded for MessagingError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Broker(_) => ErrorCode::BrokerCall,
            Self::Database(_) => ErrorCode::DatabaseQuery,
            Self::Management(_) => ErrorCode::ManagementCall,
            Self::Browse(_) | Self::Engine(_) => ErrorCode::QueueBrowse,
            Self::Unread { .. } => ErrorCode::QueueMessagesUnread,
            Self::UnknownService { .. } => ErrorCode::ServiceUnknown,
            Self::NoEvent(_) => ErrorCode::EventNotFound,
            Self::UnknownQueue { .. } => ErrorCode::QueueUnknown,
            Self::Busy(_) => ErrorCode::DeadLettersLocked,
            Self::Stalled { .. } => ErrorCode::QueueStalled,
            Self::NotFound(_) => ErrorCode::DeadLetterNotFound,
            Self::OtherSet { .. } => ErrorCode::ReplayDigestMismatch,
            Self::Edit { .. } => ErrorCode::ReplayEditInvalid,
            Self::NotOne(_) => ErrorCode::ReplayEditNotOne,
            Self::NoRun(_) => ErrorCode::ReplayRunUnknown,
            Self::Line { .. } => ErrorCode::DeadLetterFile,
            Self::NotParked(_) => ErrorCode::ParkedMessageNotFound,
            Self::NoLetters { .. } => ErrorCode::DeadLetterFile,
            Self::CopyToStream => ErrorCode::CopyNotRegularFile,
            Self::Path { .. } | Self::File(_) => ErrorCode::FileAccess,
            Self::NotConfirmed(_) => ErrorCode::NotConfirmed,
            Self::Interrupted { .. } => ErrorCode::Interrupted,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Path { source, .. } if is_misnamed(source) => Exit::Usage,
            Self::Broker(_)
            | Self::Database(_)
            | Self::Management(_)
            | Self::Path { .. }
            | Self::Browse(_)
            | Self::Engine(_)
            | Self::Unread { .. }
            | Self::File(_) => Exit::Component,
            Self::UnknownQueue { .. }
            | Self::UnknownService { .. }
            | Self::NoRun(_)
            | Self::Edit { .. }
            | Self::NotOne(_)
            | Self::Line { .. }
            | Self::NoLetters { .. }
            | Self::CopyToStream
            | Self::NotConfirmed(_) => Exit::Usage,
            Self::Busy(_) | Self::Stalled { .. } => Exit::TimedOut,
            Self::NotFound(_) | Self::NotParked(_) | Self::NoEvent(_) | Self::OtherSet { .. } => {
                Exit::Found
            }
            Self::Interrupted { .. } => Exit::Interrupted,
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::Broker(_)
            | Self::Database(_)
            | Self::Management(_)
            | Self::Browse(_)
            | Self::Engine(_) => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::Unread { .. } => vec![
                "start the consumer, and run the command again".into(),
                "check rabbitmq.image in dm.toml: the version of RabbitMQ may be newer than dm supports".into(),
            ],
            Self::UnknownService { known, .. } => {
                vec![format!("the services with events are {}", known.join(", "))]
            }
            Self::NoEvent(_) => vec![
                "list the latest events: dm outbox ls".into(),
                "published events are removed after the retention period of the outboxes".into(),
            ],
            Self::UnknownQueue { .. } => {
                let names = dm_contracts::topology::WORK_QUEUES.map(|queue| queue.name);
                vec![format!("the work queues are {}", names.join(", "))]
            }
            Self::Busy(_) | Self::Stalled { .. } => vec!["run the command again later".into()],
            Self::NotFound(_) => vec!["dm dlq ls --each".into()],
            Self::OtherSet { .. } => {
                vec!["show the current dead letters: dm dlq replay --dry-run".into()]
            }
            Self::Edit { draft, .. } => {
                vec![format!("your draft is in {}", draft.display())]
            }
            Self::NotOne(_) => vec!["choose a dead letter with --id: dm dlq ls --each".into()],
            Self::NoRun(_) => vec!["dm dlq history".into()],
            Self::Line { .. } | Self::NoLetters { .. } => {
                vec!["show the format of a line: dm dlq export -".into()]
            }
            Self::NotParked(_) => vec!["dm dlq parked".into()],
            Self::CopyToStream => vec!["dm dlq purge --copy letters.jsonl".into()],
            Self::Path { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                vec!["existing files are not overwritten: give another file, or `-` for stdout".into()]
            }
            Self::Path { .. } | Self::File(_) => Vec::new(),
            Self::NotConfirmed(_) => vec!["run the command again with --yes".into()],
            Self::Interrupted { run, .. } => vec![format!("dm dlq replay --resume {run}")],
        }
    }
}
