//! What is asked of the benchmarks: the arguments of `dm bench`, and how they are handed to the
//! program that measures.
//!
//! `dm` parses the command line, and so knows every suite and case for `--help` and for
//! completions. It depends on nothing that measures.

mod arguments;
mod case;

use std::path::PathBuf;

use dm_config::BENCH_REQUEST;
use dm_core::error::{Coded, Exit, Result};
use dm_core::error_code::ErrorCode;
use dm_operations::session::Selection;
use dm_terminal::Flags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use arguments::{Arguments, Rounds, StackArguments, Suite, UpArguments};
pub use case::{DataCase, EventsCase, ServicesCase, UpCase, in_order};

/// What `dm bench` asks of the program that measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// What is measured.
    pub dm: Program,
    /// The project, and what `--set` gave.
    pub selection: Selection,
    /// How to write.
    pub flags: Flags,
    /// What to measure.
    pub suite: Suite,
}

/// The program `dm`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// How it was compiled: `debug` or `release`. The program that measures may be compiled
    /// otherwise.
    pub profile: String,
}

impl Request {
    /// The request as name and value of a variable: any user of the machine sees an argument
    /// list, and there are passwords in it.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn to_variable(&self) -> Result<(&'static str, String)> {
        let text = serde_json::to_string(self).map_err(RequestError::Write)?;
        Ok((BENCH_REQUEST, text))
    }

    /// The request that this process was started with.
    ///
    /// # Errors
    /// The variable is missing or is not a request: `dm bench` did not start the program.
    pub fn from_environment() -> Result<Self> {
        let text = std::env::var(BENCH_REQUEST).map_err(|_| RequestError::Missing)?;
        Ok(serde_json::from_str(&text).map_err(RequestError::Read)?)
    }
}

/// A request that does not arrive.
#[derive(Debug, Error)]
enum RequestError {
    /// The program was started by something else.
    #[error(
        "could not read {BENCH_REQUEST}: the variable is not set, because `dm bench` did not start this program"
    )]
    Missing,
    /// The variable is not what `dm bench` writes.
    #[error("could not read {BENCH_REQUEST}, the variable that `dm bench` sets")]
    Read(#[source] serde_json::Error),
    /// It can't be written as JSON.
    #[error("could not write the request for dm-bench")]
    Write(#[source] serde_json::Error),
}

impl Coded for RequestError {
    fn code(&self) -> ErrorCode {
        ErrorCode::BenchRequest
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::Missing | Self::Read(_) => vec!["dm bench --help".into()],
            Self::Write(_) => Vec::new(),
        }
    }
}
