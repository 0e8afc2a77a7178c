//! Errors of seeding.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use dm_components::lock_watch::LockWait;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::units::pluralize;
use dm_gateway_client::{RequestFailure, describe_failure};
use thiserror::Error;

use super::issue::ValidationIssue;
use super::{ExistingData, SeedSummary};

/// The error of a seed.
#[derive(Debug, Error)]
pub enum SeedError {
    /// A file could not be read.
    #[error("could not read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The seed file is invalid.
    #[error("{}{}: {reason}", path.display(), line.map_or_else(String::new, |line| format!(":{line}")))]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1, if the reason concerns one.
        line: Option<usize>,
        /// The reason.
        reason: String,
    },
    /// The stack already has business data.
    #[error("the stack already has data: {0}")]
    NotEmpty(ExistingData),
    /// A query failed.
    #[error("could not query PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// A worker thread failed.
    #[error("could not generate a part of the data")]
    Worker(#[from] io::Error),
    /// A required service has no schema.
    #[error("could not generate orders: the stack has no service `{0}`")]
    MissingService(&'static str),
    /// There are no products to order.
    #[error("could not generate orders: inventory has no products until its first start")]
    NoProducts,
    /// A demo was requested together with options of a history.
    #[error("--service, --days and --end-date require a --scale other than demo")]
    PartialDemo,
    /// There are no clients to place orders.
    #[error("could not generate orders: there are no clients")]
    NoClients,
    /// A run was interrupted between two parts.
    #[error("interrupted; {completed} of {parts} parts are loaded completely")]
    HistoryInterrupted {
        /// The number of loaded parts.
        completed: u64,
        /// The number of all parts.
        parts: u64,
    },
    /// An earlier run has not been completed.
    #[error("seed run {run_id} is unfinished: {completed} of {parts} parts are loaded")]
    UnfinishedRun {
        /// The id of the run.
        run_id: String,
        /// The number of loaded parts.
        completed: u64,
        /// The number of all parts.
        parts: u64,
    },
    /// The seed file has changed since the run began.
    #[error(
        "could not resume seed run {run_id}: it began with another {}",
        super::SEED_FILE_PATH
    )]
    SeedFileChanged {
        /// The id of the run.
        run_id: String,
    },
    /// Another session holds a lock.
    #[error("could not write the data")]
    DatabaseLocked(#[source] LockWait),
    /// There is no run to resume.
    #[error("there is no unfinished seed run")]
    NothingToResume,
    /// A directory contains none of the files of an import.
    #[error("could not find leads, orders or expenses in {}, as .csv or .json", .0.display())]
    NoImportFiles(PathBuf),
    /// The files of an import are invalid.
    #[error("could not load the files: {}", pluralize(.0.len(), "problem"))]
    InvalidImport(Vec<ValidationIssue>),
    /// The stack already has every company of the seed file.
    #[error("the stack already has every company of the seed file in every town")]
    NoCompaniesLeft,
    /// A request to a service failed.
    #[error("{}", describe_failure(failure))]
    RequestFailed {
        /// The records that were created before.
        summary: SeedSummary,
        /// The failed request.
        failure: Box<RequestFailure>,
    },
    /// An effect of the requests did not occur in time.
    #[error("timed out after {} s: {reason}", timeout.as_secs())]
    Timeout {
        /// The state that was found instead.
        reason: String,
        /// The timeout that elapsed.
        timeout: Duration,
    },
    /// The demo was interrupted.
    #[error("interrupted; this run created {summary}")]
    DemoInterrupted {
        /// The records that were created before.
        summary: SeedSummary,
    },
}

/// The maximum number of issues in the details of an error.
const MAX_REPORTED_ISSUES: usize = 50;

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
        let reported = issues
            .iter()
            .take(MAX_REPORTED_ISSUES)
            .map(ToString::to_string);
        let omitted = issues
            .len()
            .checked_sub(MAX_REPORTED_ISSUES)
            .filter(|count| *count > 0);
        reported
            .chain(omitted.map(|count| format!("and {count} more")))
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
            Self::RequestFailed { .. } | Self::Database(_) | Self::Worker(_) | Self::NoProducts => {
                ExitStatus::Component
            }
            Self::Timeout { .. } | Self::DatabaseLocked(_) => ExitStatus::TimedOut,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_request_reports_what_this_run_created_and_not_what_exists() {
        let error = SeedError::RequestFailed {
            summary: SeedSummary {
                clients: 2,
                ..SeedSummary::default()
            },
            failure: Box::new(RequestFailure {
                trace_id: Some("4bf92f3577b34da6".into()),
                ..RequestFailure::new("could not sign in `jhalpert`: Account is disabled")
            }),
        };
        assert_eq!(
            error.to_string(),
            "could not sign in `jhalpert`: Account is disabled\ntrace 4bf92f3577b34da6"
        );
        assert_eq!(
            error.suggestions(),
            [
                "dm logs | grep 4bf92f3577b34da6",
                "this run created 0 leads, 2 clients, 0 orders and 0 expenses",
                "dm status",
                "dm seed --append"
            ]
        );
    }
}
