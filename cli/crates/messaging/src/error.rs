//! Why the event flow can't be seen, or not be repaired.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_components::rabbitmq::management::ManagementError;
use dm_core::error::{Coded, Exit};
use thiserror::Error;

/// What went wrong with messages.
#[derive(Debug, Error)]
pub enum MessagingError {
    /// The broker is away, or refuses.
    #[error("the broker can't be asked")]
    Broker(#[from] lapin::Error),
    /// The database is away, or refuses.
    #[error("the database can't be asked")]
    Database(#[from] sqlx::Error),
    /// The broker's state can't be read by its own tool.
    #[error("could not read the queues in the broker: {0}")]
    Browse(String),
    /// The engine can't run the broker's tool.
    #[error("could not run rabbitmqctl in the broker's container")]
    Engine(#[from] dm_engine::EngineError),
    /// There are messages that could not be read, and events that may be among them.
    #[error(
        "{events} events of {queue} may be among {unread} messages that could not be read in the \
         broker"
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
    #[error("there is no service `{name}` with events of its own")]
    UnknownService {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No outbox has it.
    #[error("no outbox knows `{0}`")]
    NoEvent(String),
    /// There is no such queue.
    #[error("there is no work queue `{name}`")]
    UnknownQueue {
        /// What was asked for.
        name: String,
    },
    /// Somebody else has the dead letters in hand.
    #[error("another dm has had the dead letters in hand for {} s", .0.as_secs())]
    Busy(Duration),
    /// The broker stopped in the middle.
    #[error("{queue} gave {read} of its {expected} messages and then nothing for {} s", patience.as_secs())]
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
    #[error("the changed event can't go back: {what}")]
    Edit {
        /// What is wrong.
        what: String,
        /// Where it still is.
        draft: std::path::PathBuf,
    },
    /// There is more than one to be edited, or none.
    #[error("{0} dead letters are meant, and one at a time can be edited")]
    NotOne(usize),
    /// There are other dead letters than those that were to be replayed.
    #[error(
        "the set of dead letters is another one: its digest is {found}, and {expected} was expected"
    )]
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
    #[error("line {line} is no dead letter: {what}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// No parked letter has that id.
    #[error("no parked letter has the id `{0}`")]
    NotParked(String),
    /// A file holds lines, and none of them is a dead letter.
    #[error("{file} holds no dead letter: {first}")]
    NoLetters {
        /// The file.
        file: String,
        /// What is wrong with the first line.
        first: String,
    },
    /// A copy that is to outlast the letters can't go to stdout, a pipe or a device.
    #[error(
        "dead letters are removed only after their copy is in a regular file, not in stdout, a pipe or a device"
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
    #[error("a file could not be read or written")]
    File(#[from] std::io::Error),
    /// Nobody said yes.
    #[error("{0} of the dead letters are to be removed, and that was not confirmed")]
    NotConfirmed(usize),
    /// Somebody interrupted it.
    #[error("interrupted; run {run} replayed {replayed} of {of}, and nothing is lost")]
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
    fn code(&self) -> &'static str {
        match self {
            Self::Broker(_) => "broker-unavailable",
            Self::Database(_) => "database-unavailable",
            Self::Management(_) => "management-unavailable",
            Self::Browse(_) | Self::Engine(_) => "broker-state-unavailable",
            Self::Unread { .. } => "broker-state-unread",
            Self::UnknownService { .. } => "service-unknown",
            Self::NoEvent(_) => "event-not-found",
            Self::UnknownQueue { .. } => "queue-unknown",
            Self::Busy(_) => "dead-letters-busy",
            Self::Stalled { .. } => "queue-stalled",
            Self::NotFound(_) => "dead-letter-not-found",
            Self::OtherSet { .. } => "replay-other-set",
            Self::Edit { .. } => "replay-edit-invalid",
            Self::NotOne(_) => "replay-edit-not-one",
            Self::NoRun(_) => "replay-run-unknown",
            Self::Line { .. } => "dead-letter-file",
            Self::NotParked(_) => "parked-letter-not-found",
            Self::NoLetters { .. } => "dead-letter-file",
            Self::CopyToStream => "copy-to-stdout",
            Self::Path { .. } | Self::File(_) => "file-access",
            Self::NotConfirmed(_) => "not-confirmed",
            Self::Interrupted { .. } => "interrupted",
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
                "start the consumer and try again: what it handles need not be read".into(),
                "the image of RabbitMQ may be newer than dm knows: rabbitmq.image names it".into(),
            ],
            Self::UnknownService { known, .. } => {
                vec![format!("the services with events are {}", known.join(", "))]
            }
            Self::NoEvent(_) => vec![
                "see the latest events: dm outbox ls".into(),
                "what was published longer ago than the outboxes keep it is gone".into(),
            ],
            Self::UnknownQueue { .. } => {
                let names = dm_contracts::topology::WORK_QUEUES.map(|queue| queue.name);
                vec![format!("the work queues are {}", names.join(", "))]
            }
            Self::Busy(_) | Self::Stalled { .. } => vec!["try again in a moment".into()],
            Self::NotFound(_) => vec!["dm dlq ls --each".into()],
            Self::OtherSet { .. } => {
                vec!["see the set as it is now: dm dlq replay --dry-run".into()]
            }
            Self::Edit { draft, .. } => {
                vec![format!("what you wrote is in {}", draft.display())]
            }
            Self::NotOne(_) => vec!["choose one by --id, from the list: dm dlq ls --each".into()],
            Self::NoRun(_) => vec!["dm dlq history".into()],
            Self::Line { .. } | Self::NoLetters { .. } => {
                vec!["see what a line is made of: dm dlq export -".into()]
            }
            Self::NotParked(_) => vec!["dm dlq parked".into()],
            Self::CopyToStream => vec!["dm dlq purge --copy letters.jsonl".into()],
            Self::Path { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                vec!["a file is never written over: name another one, or `-` for stdout".into()]
            }
            Self::Path { .. } | Self::File(_) => Vec::new(),
            Self::NotConfirmed(_) => vec!["say so by --yes".into()],
            Self::Interrupted { run, .. } => vec![format!("dm dlq replay --resume {run}")],
        }
    }
}
