//! `dm bench`: compiles the benchmark program if it is out of date, and executes it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use dm_bench_request::Arguments;
use dm_bench_request::{BenchRequest, DmProgram};
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_host::background_process;
use dm_operations::bench;
use dm_operations::session::InstanceSelection;
use dm_terminal::OutputFlags;
use thiserror::Error;

use crate::context::Context;

/// The build profile of this program.
const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// The benchmark program could not be started.
#[derive(Debug, Error)]
#[error("could not start {}", program.display())]
struct BenchStartError {
    program: PathBuf,
    source: std::io::Error,
}

impl UserError for BenchStartError {
    fn code(&self) -> ErrorCode {
        ErrorCode::ProgramStart
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

pub(crate) async fn run(
    context: &Context,
    flags: OutputFlags,
    arguments: Arguments,
) -> Result<ExitStatus> {
    // The program loads the configuration again and prints its warnings then.
    let session = context.session.without_warnings();
    let project = session.project()?;
    let program = bench::compile(&session, &project).await?;
    let request = BenchRequest {
        dm: DmProgram {
            path: background_process::current_executable()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: BUILD_PROFILE.to_owned(),
        },
        selection: InstanceSelection {
            instance: session.instance().to_owned(),
            project_directory: Some(project.loaded.root),
            overrides: session.overrides().to_vec(),
        },
        flags,
        suite: arguments.suite,
    };
    Err(exec_program(&program, &request)?.into())
}

/// Replaces this process by the program, which then handles interrupts, streams and the exit
/// code. Returns only if that fails.
fn exec_program(program: &Path, request: &BenchRequest) -> Result<BenchStartError> {
    let (variable, request) = request.to_env_var()?;
    let source = Command::new(program).env(variable, request).exec();
    Ok(BenchStartError {
        program: program.to_owned(),
        source,
    })
}
