//! Runs a command in a component's container, attached to the streams of this process.

use std::time::Duration;

use dm_core::error::{Error, ExitStatus, Result};
use dm_engine::Engine;
use dm_engine::exec::{ExecInput, ExecProcess, ExecSpec, OutputChunk};
use dm_operations::{Project, Session, exec};
use dm_terminal::attached_terminal::AttachedTerminal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The time limit for the remaining output of a command that is terminated.
const FINAL_OUTPUT_TIMEOUT: Duration = Duration::from_secs(9);

/// Runs a command in a component's container, attached to the standard streams of this
/// process. The command ends with this process, if a guard could be started.
///
/// On a terminal, the command gets a terminal. Otherwise it gets the standard input of this
/// process if `spec.stdin` is set.
///
/// # Errors
/// If the component is not running, the engine fails, or the output cannot be written.
pub(crate) async fn run_attached(
    session: &Session,
    project: &Project,
    component: &str,
    mut spec: ExecSpec,
) -> Result<ExitStatus> {
    let interrupt = &session.interrupt;
    let find_container = async {
        let engine = session.engine(project.config()).await?;
        let container = exec::running_container(project, &engine, component).await?;
        Ok::<_, Error>((engine, container))
    };
    let (engine, container) = tokio::select! {
        found = find_container => found?,
        () = interrupt.cancelled() => return Ok(ExitStatus::Interrupted),
    };
    let terminal = AttachedTerminal::open();
    if terminal.is_interactive() {
        spec.tty = true;
        spec.stdin = true;
    }
    let attached = AttachedCommand {
        engine: &engine,
        container: &container,
        terminal: &terminal,
        interrupt,
    };
    let exit_status = attached.run(&spec).await;
    // The terminal is restored before anything more is printed.
    drop(terminal);
    exit_status
}

/// The context of an attached command.
struct AttachedCommand<'a> {
    engine: &'a Engine,
    container: &'a str,
    terminal: &'a AttachedTerminal,
    /// Terminates the command.
    interrupt: &'a CancellationToken,
}

impl AttachedCommand<'_> {
    /// Runs the command until it exits or this process is interrupted.
    async fn run(&self, spec: &ExecSpec) -> Result<ExitStatus> {
        // Started first. If the container has no shell, the command runs without a guard and
        // outlives this process.
        let guard = self
            .engine
            .start_exec_guard(self.container, spec.user.as_deref());
        let guard = guard.await;
        let wrapped = guard.as_ref().map(|guard| guard.wrap_command(spec));
        let spec = wrapped.as_ref().unwrap_or(spec);
        let mut running = self.engine.exec(self.container, spec).await?;
        if spec.stdin {
            tokio::spawn(forward_input(running.take_stdin()));
        }
        let result = tokio::select! {
            result = self.wait_for_exit(&mut running) => result,
            () = self.interrupt.cancelled() => {
                if let Some(guard) = guard {
                    let output = self.forward_output(&mut running);
                    let final_output = timeout(FINAL_OUTPUT_TIMEOUT, output);
                    let ((), _) = tokio::join!(guard.terminate(), final_output);
                }
                return Ok(ExitStatus::Interrupted);
            }
        };
        match (result, guard) {
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

    /// Returns the exit code of the command after all of its output is forwarded.
    async fn wait_for_exit(&self, running: &mut ExecProcess) -> Result<i64> {
        self.forward_output(running).await?;
        Ok(self.engine.exec_exit_code(running).await?)
    }

    async fn forward_output(&self, running: &mut ExecProcess) -> Result<()> {
        let mut resized = self
            .terminal
            .is_interactive()
            .then(|| signal(SignalKind::window_change()).ok())
            .flatten();
        self.resize_remote(running);
        loop {
            tokio::select! {
                chunk = running.next_chunk() => match chunk? {
                    None => return Ok(()),
                    Some(OutputChunk::Stdout(bytes)) => self.terminal.write_stdout(&bytes).await.map_err(Error::from)?,
                    Some(OutputChunk::Stderr(bytes)) => self.terminal.write_stderr(&bytes).await,
                },
                Some(()) = next_resize(&mut resized) => self.resize_remote(running),
            }
        }
    }

    /// Sets the size of the command's terminal to that of this one. Not awaited: the command
    /// may exit before its terminal is resized.
    fn resize_remote(&self, running: &ExecProcess) {
        if let Some(size) = self.terminal.size() {
            tokio::spawn(
                self.engine
                    .resize_terminal(running, size.width, size.height),
            );
        }
    }
}

/// Forwards the standard input of this process. Runs in a separate task: a read that waits for
/// a key must not delay the detection of the command's exit.
async fn forward_input(mut input: ExecInput) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
        if input.write_all(&buffer[..count]).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    // The end of our input ends the input of the command.
    let _ = input.shutdown().await;
}

/// Waits for the next change of the terminal's size; without a terminal, forever.
async fn next_resize(resized: &mut Option<Signal>) -> Option<()> {
    match resized {
        Some(resized) => resized.recv().await,
        None => std::future::pending().await,
    }
}
