//! Why a stack could not be filled.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use dm_components::locks::Blocked;
use dm_core::error::{Coded, Exit};
use dm_core::error_code::ErrorCode;
use dm_gateway_client::{Fault, describe};
use thiserror::Error;

use super::issue::Issue;
use super::{Existing, Made};

/// A seed that could not be carried out.
#[derive(Debug, Error)]
pub enum SeedError {
    /// The file can't be read.
    #[error("could not read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}{}: {what}", path.display(), line.map_or_else(String::new, |line| format!(":{line}")))]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is about one.
        line: Option<usize>,
        /// What is wrong.
        what: String,
    },
    /// There is something already.
    #[error("the stack already has data: {0}")]
    NotEmpty(Existing),
    /// The database is away, or refused.
    #[error("could not query PostgreSQL")]
    Database(#[from] sqlx::Error),
    /// A worker failed.
    #[error("could not generate a part of the data")]
    Worker(#[from] io::Error),
    /// A service that takes part has no schema.
    #[error("could not generate orders: the stack has no service `{0}`")]
    NoService(&'static str),
    /// There is nothing to order.
    #[error("could not generate orders: inventory has no products until its first start")]
    NoProducts,
    /// A demo was asked for in part.
    #[error("--service, --days and --end-date require a --scale other than demo")]
    DemoIsWhole,
    /// There is nobody to order.
    #[error("could not generate orders: there are no clients")]
    NoClients,
    /// A run was ended between two parts.
    #[error("interrupted; {done} of {parts} parts are loaded completely")]
    CutShort {
        /// How many are there.
        done: u64,
        /// Of how many.
        parts: u64,
    },
    /// An earlier run was cut short.
    #[error("seed run {run} is unfinished: {done} of {parts} parts are loaded")]
    Unfinished {
        /// Which.
        run: String,
        /// How many are there.
        done: u64,
        /// Of how many.
        parts: u64,
    },
    /// The file has changed since a run began.
    #[error(
        "could not resume seed run {run}: it began with another {}",
        super::PATH
    )]
    OtherFile {
        /// Which.
        run: String,
    },
    /// Another session holds a lock.
    #[error("could not write the data")]
    Blocked(#[source] Blocked),
    /// There is no run to carry on with.
    #[error("there is no unfinished seed run")]
    NothingToResume,
    /// A folder has none of the files that are read.
    #[error("could not find leads, orders or expenses in {}, as .csv or .json", .0.display())]
    NoFiles(PathBuf),
    /// Something is wrong with somebody's files.
    #[error("could not load the files: {}", wrong(.0.len()))]
    Own(Vec<Issue>),
    /// Every company of the file is there.
    #[error("the stack already has every company of the seed file in every town")]
    Exhausted,
    /// A service refused, or did not answer.
    #[error("{}", describe(fault))]
    Refused {
        /// What was made before.
        made: Made,
        /// What was not as expected.
        fault: Box<Fault>,
    },
    /// What follows from the requests did not come about.
    #[error("timed out after {} s: {what}", patience.as_secs())]
    Late {
        /// What there was instead.
        what: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Somebody interrupted it.
    #[error("interrupted; this run created {made}")]
    Interrupted {
        /// What was made before.
        made: Made,
    },
}

/// How many issues are told.
const TOLD: usize = 50;

fn wrong(count: usize) -> String {
    match count {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    }
}

impl Coded for SeedError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. } | Self::Content { .. } | Self::NoFiles(_) | Self::Own(_) => {
                ErrorCode::SeedFile
            }
            Self::NotEmpty(_) => ErrorCode::SeedNotEmpty,
            Self::OtherFile { .. } => ErrorCode::SeedFileChanged,
            Self::Blocked(_) => ErrorCode::DatabaseLocked,
            Self::Database(_) => ErrorCode::DatabaseQuery,
            Self::Worker(_) => ErrorCode::SeedWorker,
            Self::DemoIsWhole => ErrorCode::SeedDemoIndivisible,
            Self::NoService(_) | Self::NoProducts | Self::NoClients => {
                ErrorCode::SeedNoReferenceData
            }
            Self::Unfinished { .. } => ErrorCode::SeedUnfinished,
            Self::NothingToResume => ErrorCode::SeedNothingToResume,
            Self::Exhausted => ErrorCode::SeedExhausted,
            Self::Refused { .. } => ErrorCode::SeedRequest,
            Self::Late { .. } => ErrorCode::SeedTimedOut,
            Self::Interrupted { .. } | Self::CutShort { .. } => ErrorCode::Interrupted,
        }
    }

    fn details(&self) -> Vec<String> {
        let Self::Own(issues) = self else {
            return Vec::new();
        };
        let told = issues.iter().take(TOLD).map(ToString::to_string);
        let more = issues.len().checked_sub(TOLD).filter(|more| *more > 0);
        told.chain(more.map(|more| format!("and {more} more")))
            .collect()
    }

    fn exit(&self) -> Exit {
        match self {
            Self::File { .. }
            | Self::Content { .. }
            | Self::NoFiles(_)
            | Self::Own(_)
            | Self::NotEmpty(_)
            | Self::OtherFile { .. }
            | Self::NoService(_)
            | Self::NoClients
            | Self::DemoIsWhole
            | Self::Unfinished { .. }
            | Self::NothingToResume
            | Self::Exhausted => Exit::Usage,
            Self::Refused { .. }
            | Self::Database(_)
            | Self::Blocked(_)
            | Self::Worker(_)
            | Self::NoProducts => Exit::Component,
            Self::Late { .. } => Exit::TimedOut,
            Self::Interrupted { .. } | Self::CutShort { .. } => Exit::Interrupted,
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::File { .. } | Self::Content { .. } | Self::NoFiles(_) | Self::Own(_) => {
                vec!["see docs/seed.md for the format".into()]
            }
            Self::OtherFile { .. } => vec![
                format!("restore the file: git checkout {}", super::PATH),
                "or discard the existing data: dm reset".into(),
            ],
            Self::Blocked(blocked) => blocked.next(),
            Self::NotEmpty(_) => vec![
                "add to the data: dm seed --append".into(),
                "or remove the data first: dm seed --fresh".into(),
            ],
            Self::Database(_) | Self::NoService(_) | Self::NoProducts => {
                vec!["dm status".into(), "dm up".into()]
            }
            Self::NoClients => vec!["dm seed --scale small --service sales --append".into()],
            Self::DemoIsWhole => vec!["dm seed --scale small --service sales".into()],
            Self::CutShort { .. } | Self::Unfinished { .. } => vec![
                "load the rest: dm seed --resume".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::NothingToResume => vec!["dm seed --scale small".into()],
            Self::Worker(_) => Vec::new(),
            Self::Exhausted => vec![
                "add companies or towns to the file".into(),
                "dm reset".into(),
            ],
            Self::Refused { made, fault } => {
                let trace = fault.trace_id.iter();
                trace
                    .map(|trace| format!("dm logs | grep {trace}"))
                    .chain([
                        format!("this run created {made}"),
                        "dm status".into(),
                        "dm seed --append".into(),
                    ])
                    .collect()
            }
            Self::Late { .. } => vec!["dm status".into(), "dm smoke".into()],
            Self::Interrupted { .. } => vec!["dm seed --append".into(), "dm reset".into()],
        }
    }
}
