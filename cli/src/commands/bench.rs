//! `dm bench`: compiles the program that measures where it is stale, and becomes it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use dm_bench_request::Arguments;
use dm_bench_request::{Program, Request};
use dm_core::error::{Coded, Exit, Result};
use dm_core::error_code::ErrorCode;
use dm_host::detach;
use dm_operations::bench;
use dm_operations::session::Selection;
use dm_terminal::Flags;
use thiserror::Error;

use crate::context::Context;

/// How this program was compiled.
const PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// The program that measures could not be started.
#[derive(Debug, Error)]
#[error("could not start {}", program.display())]
struct NotStarted {
    program: PathBuf,
    source: std::io::Error,
}

impl Coded for NotStarted {
    fn code(&self) -> ErrorCode {
        ErrorCode::ProgramStart
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(crate) async fn run(context: &Context, flags: Flags, arguments: Arguments) -> Result<Exit> {
    // The program reads the configuration again, and says then what is to be said of it.
    let session = context.session.silent();
    let project = session.project()?;
    let program = bench::compile(&session, &project).await?;
    let request = Request {
        dm: Program {
            path: detach::own_program()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: PROFILE.to_owned(),
        },
        selection: Selection {
            instance: session.instance().to_owned(),
            project_directory: Some(project.loaded.root),
            overrides: session.overrides().to_vec(),
        },
        flags,
        suite: arguments.suite,
    };
    Err(become_program(&program, &request)?.into())
}

/// Becomes the program: interrupts, streams and the exit code are its own from then on. Answers
/// only where that fails.
fn become_program(program: &Path, request: &Request) -> Result<NotStarted> {
    let (variable, request) = request.to_variable()?;
    let source = Command::new(program).env(variable, request).exec();
    Ok(NotStarted {
        program: program.to_owned(),
        source,
    })
}
