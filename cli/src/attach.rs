//! A command in a component's container, attached to this process's streams.

use std::time::Duration;

use dm_core::error::{Error, ExitStatus, Result};
use dm_engine::Engine;
use dm_engine::exec::{ExecInput, ExecProcess, ExecSpec, OutputChunk};
use dm_operations::{Project, Session as Operations, exec};
use dm_terminal::attached_terminal::AttachedTerminal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the output of a command that is made to end is waited for.
const FINAL_OUTPUT_TIMEOUT: Duration = Duration::from_secs(9);

/// Runs a command in a component's container, attached to this process's own
/// standard streams. It ends with this process.
///
/// At a terminal it gets a terminal; otherwise its standard input is this process's
/// where `spec` says that it reads one.
///
/// # Errors
/// The component doesn't run, or the engine fails, or the output can't be written.
pub(crate) async fn run_attached(
    operations: &Operations,
    project: &Project,
    component: &str,
    mut spec: ExecSpec,
) -> Result<ExitStatus> {
    let interrupt = &operations.interrupt;
    let find = async {
        let engine = operations.engine(project.config()).await?;
        let container = exec::running_container(project, &engine, component).await?;
        Ok::<_, Error>((engine, container))
    };
    let (engine, container) = tokio::select! {
        found = find => found?,
        () = interrupt.cancelled() => return Ok(ExitStatus::Interrupted),
    };
    let session = AttachedTerminal::open();
    if session.is_interactive() {
        spec.tty = true;
        spec.stdin = true;
    }
    let joined = AttachedCommand {
        engine: &engine,
        container: &container,
        session: &session,
        interrupt,
    };
    let exit = joined.run(&spec).await;
    // The terminal is itself again before anything more is printed.
    drop(session);
    exit
}

/// What a command is joined to.
struct AttachedCommand<'a> {
    engine: &'a Engine,
    container: &'a str,
    session: &'a AttachedTerminal,
    /// Ends the command.
    interrupt: &'a CancellationToken,
}

impl AttachedCommand<'_> {
    /// Runs the command until it ends, or has to end since this process does.
    async fn run(&self, spec: &ExecSpec) -> Result<ExitStatus> {
        // First of all: at no moment is there a command without a guard.
        let guard = self
            .engine
            .start_exec_guard(self.container, spec.user.as_deref());
        let guard = guard.await;
        let guarded = guard.as_ref().map(|guard| guard.wrap_command(spec));
        let spec = guarded.as_ref().unwrap_or(spec);
        let mut running = self.engine.exec(self.container, spec).await?;
        if spec.stdin {
            tokio::spawn(forward_input(running.take_stdin()));
        }
        let ended = tokio::select! {
            ended = self.wait_for_exit(&mut running) => ended,
            () = self.interrupt.cancelled() => {
                if let Some(guard) = guard {
                    let last = timeout(FINAL_OUTPUT_TIMEOUT, self.forward_output(&mut running));
                    let ((), _) = tokio::join!(guard.terminate(), last);
                }
                return Ok(ExitStatus::Interrupted);
            }
        };
        match (ended, guard) {
            (Ok(code), guard) => {
                if let Some(guard) = guard {
                    guard.release().await;
                }
                Ok(ExitStatus::Other(u8::try_from(code).unwrap_or(u8::MAX)))
            }
            (Err(error), guard) => {
                if let Some(guard) = guard {
                    guard.terminate().await;
                }
                Err(error)
            }
        }
    }

    /// The command's exit code, once all of its output is passed on.
    async fn wait_for_exit(&self, running: &mut ExecProcess) -> Result<i64> {
        self.forward_output(running).await?;
        Ok(self.engine.exec_exit_code(running).await?)
    }

    async fn forward_output(&self, running: &mut ExecProcess) -> Result<()> {
        let mut resized = self
            .session
            .is_interactive()
            .then(|| signal(SignalKind::window_change()).ok())
            .flatten();
        self.resize_remote(running);
        loop {
            tokio::select! {
                chunk = running.next_chunk() => match chunk? {
                    None => return Ok(()),
                    Some(OutputChunk::Stdout(bytes)) => self.session.write_stdout(&bytes).await.map_err(Error::from)?,
                    Some(OutputChunk::Stderr(bytes)) => self.session.write_stderr(&bytes).await,
                },
                Some(()) = next_resize(&mut resized) => self.resize_remote(running),
            }
        }
    }

    /// Tells the command's terminal the size of this one. Nothing waits for it: a
    /// command may have ended before its terminal could be resized.
    fn resize_remote(&self, running: &ExecProcess) {
        if let Some(size) = self.session.size() {
            tokio::spawn(
                self.engine
                    .resize_terminal(running, size.width, size.height),
            );
        }
    }
}

/// Passes this process's standard input on. In a task of its own: a read that waits for
/// a key must not keep the command's end from being seen.
async fn forward_input(mut input: ExecInput) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
        if input.write_all(&buffer[..count]).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    // The end of our input is the end of the command's.
    let _ = input.shutdown().await;
}

/// The next change of the terminal's size; never where there is no terminal.
async fn next_resize(resized: &mut Option<Signal>) -> Option<()> {
    match resized {
        Some(resized) => resized.recv().await,
        None => std::future::pending().await,
    }
}
