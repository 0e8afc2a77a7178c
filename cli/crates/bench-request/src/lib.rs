//! What is asked of the benchmarks: the arguments of `dm bench`, and how they are handed to the
//! program that measures.
//!
//! `dm` parses the command line, and so knows every suite and case for `--help` and for
//! completions. It depends on nothing that measures.

mod arguments;
mod case;

use std::path::PathBuf;

use dm_config::BENCH_REQUEST_VARIABLE;
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_operations::session::InstanceSelection;
use dm_terminal::OutputFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use arguments::{Arguments, RoundArguments, StackArguments, SuiteArguments, UpArguments};
pub use case::{DataCase, EventsCase, ServicesCase, UpCase, selected_cases};

/// What `dm bench` asks of the program that measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BenchRequest {
    /// What is measured.
    pub dm: DmProgram,
    /// The project, and what `--set` gave.
    pub selection: InstanceSelection,
    /// How to write.
    pub flags: OutputFlags,
    /// What to measure.
    pub suite: SuiteArguments,
}

/// The program `dm`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DmProgram {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// How it was compiled: `debug` or `release`. The program that measures may be compiled
    /// otherwise.
    pub profile: String,
}

impl BenchRequest {
    /// The request as name and value of a variable: any user of the machine sees an argument
    /// list, and there are passwords in it.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn to_env_var(&self) -> Result<(&'static str, String)> {
        let text = serde_json::to_string(self).map_err(RequestError::Write)?;
        Ok((BENCH_REQUEST_VARIABLE, text))
    }

    /// The request that this process was started with.
    ///
    /// # Errors
    /// The variable is missing or is not a request: `dm bench` did not start the program.
    pub fn from_env() -> Result<Self> {
        let text = std::env::var(BENCH_REQUEST_VARIABLE).map_err(|_| RequestError::Missing)?;
        Ok(serde_json::from_str(&text).map_err(RequestError::Read)?)
    }
}

/// A request that does not arrive.
#[derive(Debug, Error)]
enum RequestError {
    /// The program was started by something else.
    #[error(
        "could not read {BENCH_REQUEST_VARIABLE}: the variable is not set, because `dm bench` did not start this program"
    )]
    Missing,
    /// The variable is not what `dm bench` writes.
    #[error("could not read {BENCH_REQUEST_VARIABLE}, the variable that `dm bench` sets")]
    Read(#[source] serde_json::Error),
    /// It can't be written as JSON.
    #[error("could not write the request for dm-bench")]
    Write(#[source] serde_json::Error),
}

impl UserError for RequestError {
    fn code(&self) -> ErrorCode {
        ErrorCode::BenchRequest
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Missing | Self::Read(_) => vec!["dm bench --help".into()],
            Self::Write(_) => Vec::new(),
        }
    }
}
