//! The request from `dm bench` to the program that measures: the arguments, and their encoding.
//!
//! `dm` parses the command line, so that `--help` and completions list every suite and case. It
//! does not depend on the code that measures.

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

/// The request from `dm bench` to the program that measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BenchRequest {
    /// The measured program.
    pub dm: DmProgram,
    /// The project, and the values of `--set`.
    pub selection: InstanceSelection,
    /// The flags of the output.
    pub flags: OutputFlags,
    /// The suite.
    pub suite: SuiteArguments,
}

/// The program `dm`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DmProgram {
    /// The path.
    pub path: PathBuf,
    /// The version.
    pub version: String,
    /// The build profile: `debug` or `release`. The program that measures may have another one.
    pub profile: String,
}

impl BenchRequest {
    /// Returns the request as the name and value of an environment variable. An argument list would
    /// be visible to every user of the machine, and the request contains a password.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn to_env_var(&self) -> Result<(&'static str, String)> {
        let text = serde_json::to_string(self).map_err(RequestError::Write)?;
        Ok((BENCH_REQUEST_VARIABLE, text))
    }

    /// Reads the request with which this process was started.
    ///
    /// # Errors
    /// If the variable is missing or invalid: `dm bench` did not start the program.
    pub fn from_env() -> Result<Self> {
        let text = std::env::var(BENCH_REQUEST_VARIABLE).map_err(|_| RequestError::Missing)?;
        Ok(serde_json::from_str(&text).map_err(RequestError::Read)?)
    }
}

/// The error of a request that could not be transferred.
#[derive(Debug, Error)]
enum RequestError {
    /// The variable is not set.
    #[error(
        "could not read {BENCH_REQUEST_VARIABLE}: the variable is not set, because `dm bench` did not start this program"
    )]
    Missing,
    /// The variable is invalid.
    #[error("could not read {BENCH_REQUEST_VARIABLE}, the variable that `dm bench` sets")]
    Read(#[source] serde_json::Error),
    /// The request could not be written as JSON.
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
