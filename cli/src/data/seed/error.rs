//! Why a stack could not be filled.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::{Existing, Made};
use crate::client::{Fault, describe};
use crate::error::{Coded, Exit};

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
    #[error("the stack has data already: {0}")]
    NotEmpty(Existing),
    /// Every company of the file is there.
    #[error("the stack has every company that the file knows, in every town")]
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
    #[error("after {} s {what}", patience.as_secs())]
    Late {
        /// What there was instead.
        what: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Somebody interrupted it.
    #[error("interrupted; there are {made}")]
    Interrupted {
        /// What was made before.
        made: Made,
    },
}

impl Coded for SeedError {
    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Content { .. } => "seed-file",
            Self::NotEmpty(_) => "seed-not-empty",
            Self::Exhausted => "seed-exhausted",
            Self::Refused { .. } => "seed-refused",
            Self::Late { .. } => "seed-late",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::File { .. } | Self::Content { .. } | Self::NotEmpty(_) | Self::Exhausted => {
                Exit::Usage
            }
            Self::Refused { .. } => Exit::Component,
            Self::Late { .. } => Exit::TimedOut,
            Self::Interrupted { .. } => Exit::Interrupted,
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::File { .. } | Self::Content { .. } => {
                vec!["the format is described in docs/seed.md".into()]
            }
            Self::NotEmpty(_) => vec!["dm seed --append".into(), "dm reset".into()],
            Self::Exhausted => vec![
                "add companies or towns to the file".into(),
                "dm reset".into(),
            ],
            Self::Refused { made, fault } => {
                let trace = fault.trace_id.iter();
                trace
                    .map(|trace| format!("dm logs | grep {trace}"))
                    .chain([
                        format!("there are {made} now"),
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
