//! Why a stack could not be filled.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use dm_components::lock_watch::LockWait;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_gateway_client::{RequestFailure, describe_failure};
use thiserror::Error;

use super::issue::ValidationIssue;
use super::{ExistingData, SeedSummary};

/// A seed that could not be carried out.
#[derive(Debug, Error)]
pub enum SeedError {
    /// The file can't be read.
    #[error("could not read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}{}: {reason}", path.display(), line.map_or_else(String::new, |line| format!(":{line}")))]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is about one.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// There is something already.
    #[error("the stack already has data: {0}")]
    NotEmpty(ExistingData),
    /// The database is away, or refused.
    #[error("could not query PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// A worker failed.
    #[error("could not generate a part of the data")]
    Worker(#[from] io::Error),
    /// A service that takes part has no schema.
    #[error("could not generate orders: the stack has no service `{0}`")]
    MissingService(&'static str),
    /// There is nothing to order.
    #[error("could not generate orders: inventory has no products until its first start")]
    NoProducts,
    /// A demo was asked for in part.
    #[error("--service, --days and --end-date require a --scale other than demo")]
    PartialDemo,
    /// There is nobody to order.
    #[error("could not generate orders: there are no clients")]
    NoClients,
    /// A run was ended between two parts.
    #[error("interrupted; {completed} of {parts} parts are loaded completely")]
    HistoryInterrupted {
        /// How many are there.
        completed: u64,
        /// Of how many.
        parts: u64,
    },
    /// An earlier run was cut short.
    #[error("seed run {run_id} is unfinished: {completed} of {parts} parts are loaded")]
    UnfinishedRun {
        /// Which.
        run_id: String,
        /// How many are there.
        completed: u64,
        /// Of how many.
        parts: u64,
    },
    /// The file has changed since a run began.
    #[error(
        "could not resume seed run {run_id}: it began with another {}",
        super::SEED_FILE_PATH
    )]
    SeedFileChanged {
        /// Which.
        run_id: String,
    },
    /// Another session holds a lock.
    #[error("could not write the data")]
    DatabaseLocked(#[source] LockWait),
    /// There is no run to carry on with.
    #[error("there is no unfinished seed run")]
    NothingToResume,
    /// A folder has none of the files that are read.
    #[error("could not find leads, orders or expenses in {}, as .csv or .json", .0.display())]
    NoImportFiles(PathBuf),
    /// Something is wrong with somebody's files.
    #[error("could not load the files: {}", issue_count_text(.0.len()))]
    InvalidImport(Vec<ValidationIssue>),
    /// Every company of the file is there.
    #[error("the stack already has every company of the seed file in every town")]
    NoCompaniesLeft,
    /// A service refused, or did not answer.
    #[error("{}", describe_failure(failure))]
    RequestFailed {
        /// What was made before.
        summary: SeedSummary,
        /// What was not as expected.
        failure: Box<RequestFailure>,
    },
    /// What follows from the requests did not come about.
    #[error("timed out after {} s: {reason}", timeout.as_secs())]
    Timeout {
        /// What there was instead.
        reason: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// Somebody interrupted it.
    #[error("interrupted; this run created {summary}")]
    DemoInterrupted {
        /// What was made before.
        summary: SeedSummary,
    },
}

/// How many issues are told.
const MAX_REPORTED_ISSUES: usize = 50;

fn issue_count_text(count: usize) -> String {
    match count {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    }
}

impl UserError for SeedError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ReadFile { .. }
            | Self::InvalidFile { .. }
            | Self::NoImportFiles(_)
            | Self::InvalidImport(_) => ErrorCode::SeedFile,
            Self::NotEmpty(_) => ErrorCode::SeedNotEmpty,
            Self::SeedFileChanged { .. } => ErrorCode::SeedFileChanged,
            Self::DatabaseLocked(_) => ErrorCode::DatabaseLocked,
            Self::Database(_) => ErrorCode::DatabaseQuery,
            Self::Worker(_) => ErrorCode::SeedWorker,
            Self::PartialDemo => ErrorCode::SeedDemoIndivisible,
            Self::MissingService(_) | Self::NoProducts | Self::NoClients => {
                ErrorCode::SeedNoReferenceData
            }
            Self::UnfinishedRun { .. } => ErrorCode::SeedUnfinished,
            Self::NothingToResume => ErrorCode::SeedNothingToResume,
            Self::NoCompaniesLeft => ErrorCode::SeedExhausted,
            Self::RequestFailed { .. } => ErrorCode::SeedRequest,
            Self::Timeout { .. } => ErrorCode::SeedTimedOut,
            Self::DemoInterrupted { .. } | Self::HistoryInterrupted { .. } => {
                ErrorCode::Interrupted
            }
        }
    }

    fn details(&self) -> Vec<String> {
        let Self::InvalidImport(issues) = self else {
            return Vec::new();
        };
        let told = issues
            .iter()
            .take(MAX_REPORTED_ISSUES)
            .map(ToString::to_string);
        let more = issues
            .len()
            .checked_sub(MAX_REPORTED_ISSUES)
            .filter(|more| *more > 0);
        told.chain(more.map(|more| format!("and {more} more")))
            .collect()
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::ReadFile { .. }
            | Self::InvalidFile { .. }
            | Self::NoImportFiles(_)
            | Self::InvalidImport(_)
            | Self::NotEmpty(_)
            | Self::SeedFileChanged { .. }
            | Self::MissingService(_)
            | Self::NoClients
            | Self::PartialDemo
            | Self::UnfinishedRun { .. }
            | Self::NothingToResume
            | Self::NoCompaniesLeft => ExitStatus::Usage,
            Self::RequestFailed { .. }
            | Self::Database(_)
            | Self::DatabaseLocked(_)
            | Self::Worker(_)
            | Self::NoProducts => ExitStatus::Component,
            Self::Timeout { .. } => ExitStatus::TimedOut,
            Self::DemoInterrupted { .. } | Self::HistoryInterrupted { .. } => {
                ExitStatus::Interrupted
            }
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::ReadFile { .. }
            | Self::InvalidFile { .. }
            | Self::NoImportFiles(_)
            | Self::InvalidImport(_) => {
                vec!["see docs/seed.md for the format".into()]
            }
            Self::SeedFileChanged { .. } => vec![
                format!("restore the file: git checkout {}", super::SEED_FILE_PATH),
                "or discard the existing data: dm reset".into(),
            ],
            Self::DatabaseLocked(blocked) => blocked.suggestions(),
            Self::NotEmpty(_) => vec![
                "add to the data: dm seed --append".into(),
                "or remove the data first: dm seed --fresh".into(),
            ],
            Self::Database(_) | Self::MissingService(_) | Self::NoProducts => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::NoClients => vec!["dm seed --scale small --service sales --append".into()],
            Self::PartialDemo => vec!["dm seed --scale small --service sales".into()],
            Self::HistoryInterrupted { .. } | Self::UnfinishedRun { .. } => vec![
                "load the rest: dm seed --resume".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::NothingToResume => vec!["dm seed --scale small".into()],
            Self::Worker(_) => Vec::new(),
            Self::NoCompaniesLeft => vec![
                "add companies or towns to the file".into(),
                "dm reset".into(),
            ],
            Self::RequestFailed { summary, failure } => {
                let trace = failure.trace_id.iter();
                trace
                    .map(|trace| format!("dm logs | grep {trace}"))
                    .chain([
                        format!("this run created {summary}"),
                        "dm status".into(),
                        "dm seed --append".into(),
                    ])
                    .collect()
            }
            Self::Timeout { .. } => vec!["dm status".into(), "dm smoke".into()],
            Self::DemoInterrupted { .. } => vec!["dm seed --append".into(), "dm reset".into()],
        }
    }
}
