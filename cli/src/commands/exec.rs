//! `dm exec`.

use clap::Args;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use super::context::{Context, Project};
use crate::engine::containers::State;
use crate::engine::exec::{Chunk, ExecSpec};
use crate::engine::{Engine, EngineError};
use crate::error::{Coded, Exit, Result};
use crate::output::session::Session;

/// Run a command in a component's container.
///
/// With a terminal here it gets a terminal there; in a pipe, standard input is
/// passed on and the output comes unchanged. It ends with the command's exit code.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The component.
    name: String,
    /// The user in the container.
    #[arg(long, short)]
    user: Option<String>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// The component doesn't run, so nothing can run in it.
#[derive(Debug, Error)]
#[error("{component} does not run")]
pub struct NotRunning {
    component: String,
}

impl Coded for NotRunning {
    fn code(&self) -> &'static str {
        "component-not-running"
    }

    fn exit(&self) -> Exit {
        Exit::Component
    }

    fn next(&self) -> Vec<String> {
        vec![format!("dm up --only {}", self.component)]
    }
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let project = context.project()?;
    let spec = ExecSpec {
        command: arguments.command,
        user: arguments.user,
        ..ExecSpec::default()
    };
    in_component(context, &project, &arguments.name, spec).await
}

/// The container of a component that runs.
///
/// # Errors
/// There is no such component, or it doesn't run, or the engine fails.
pub async fn running(
    context: &Context,
    project: &Project,
    engine: &Engine,
    component: &str,
) -> Result<String> {
    let container = project.instance.container(component);
    let runs = engine
        .containers(&project.instance.filter())
        .await?
        .into_iter()
        .any(|it| it.name == container && it.state == State::Running);
    if runs {
        return Ok(container);
    }
    context.check_component(project, component)?;
    Err(NotRunning {
        component: component.to_owned(),
    }
    .into())
}

/// Runs a command in a component's container, joined to this process's own
/// standard streams.
///
/// # Errors
/// The component doesn't run, or the engine fails.
pub async fn in_component(
    context: &Context,
    project: &Project,
    component: &str,
    mut spec: ExecSpec,
) -> Result<Exit> {
    let engine = context.engine(project.config()).await?;
    let container = running(context, project, &engine, component).await?;
    let session = Session::begin();
    spec.tty = session.is_interactive();
    spec.stdin = true;
    let code = join(&engine, &container, &spec, &session).await?;
    // The terminal is itself again before anything more is printed.
    drop(session);
    Ok(Exit::Other(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Runs the command with this process's streams until it ends.
async fn join(
    engine: &Engine,
    container: &str,
    spec: &ExecSpec,
    session: &Session,
) -> Result<i64, EngineError> {
    let mut running = engine.exec(container, spec).await?;
    let mut input = running.take_input();
    // Reads in a task of its own: a read that waits for a key must not keep the
    // command's end from being seen.
    tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
            if input.write_all(&buffer[..count]).await.is_err() || input.flush().await.is_err() {
                return;
            }
        }
        // The end of our input is the end of the command's.
        let _ = input.shutdown().await;
    });
    let mut resized = session
        .is_interactive()
        .then(|| signal(SignalKind::window_change()).ok())
        .flatten();
    if let Some(size) = session.size() {
        engine.resize(&running, size.width, size.height).await?;
    }
    loop {
        tokio::select! {
            chunk = running.next() => {
                let written = match chunk? {
                    None => break,
                    Some(Chunk::Out(bytes)) => session.out(&bytes),
                    Some(Chunk::Err(bytes)) => session.err(&bytes),
                };
                if written.is_err() {
                    break;
                }
            }
            Some(()) = changed(&mut resized) => if let Some(size) = session.size() {
                // The command may have ended in between.
                let _ = engine.resize(&running, size.width, size.height).await;
            },
        }
    }
    engine.exec_code(&running).await
}

/// The next change of the terminal's size; never where there is no terminal.
async fn changed(resized: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match resized {
        Some(resized) => resized.recv().await,
        None => std::future::pending().await,
    }
}
