//! A command in a component's container, attached to this process's streams.

use std::time::Duration;

use dm_core::error::{Error, Exit, Result};
use dm_engine::Engine;
use dm_engine::exec::{Chunk, ExecSpec, Input, Running};
use dm_operations::{Project, Session as Operations, exec};
use dm_terminal::session::Session;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the output of a command that is made to end is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(9);

/// Runs a command in a component's container, attached to this process's own
/// standard streams. It ends with this process.
///
/// At a terminal it gets a terminal; otherwise its standard input is this process's
/// where `spec` says that it reads one.
///
/// # Errors
/// The component doesn't run, or the engine fails, or the output can't be written.
pub(crate) async fn run(
    operations: &Operations,
    project: &Project,
    component: &str,
    mut spec: ExecSpec,
) -> Result<Exit> {
    let interrupt = &operations.interrupt;
    let find = async {
        let engine = operations.engine(project.config()).await?;
        let container = exec::running(project, &engine, component).await?;
        Ok::<_, Error>((engine, container))
    };
    let (engine, container) = tokio::select! {
        found = find => found?,
        () = interrupt.cancelled() => return Ok(Exit::Interrupted),
    };
    let session = Session::begin();
    if session.is_interactive() {
        spec.tty = true;
        spec.stdin = true;
    }
    let joined = Joined {
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
struct Joined<'a> {
    engine: &'a Engine,
    container: &'a str,
    session: &'a Session,
    /// Ends the command.
    interrupt: &'a CancellationToken,
}

impl Joined<'_> {
    /// Runs the command until it ends, or has to end since this process does.
    async fn run(&self, spec: &ExecSpec) -> Result<Exit> {
        // First of all: at no moment is there a command without a guard.
        let guard = self.engine.guard(self.container, spec.user.as_deref());
        let guard = guard.await;
        let guarded = guard.as_ref().map(|guard| guard.guarded(spec));
        let spec = guarded.as_ref().unwrap_or(spec);
        let mut running = self.engine.exec(self.container, spec).await?;
        if spec.stdin {
            tokio::spawn(pass_input(running.take_input()));
        }
        let ended = tokio::select! {
            ended = self.finish(&mut running) => ended,
            () = self.interrupt.cancelled() => {
                if let Some(guard) = guard {
                    let last = timeout(LAST_OUTPUT, self.pass_output(&mut running));
                    let ((), _) = tokio::join!(guard.end(), last);
                }
                return Ok(Exit::Interrupted);
            }
        };
        match (ended, guard) {
            (Ok(code), guard) => {
                if let Some(guard) = guard {
                    guard.release().await;
                }
                Ok(Exit::Other(u8::try_from(code).unwrap_or(u8::MAX)))
            }
            (Err(error), guard) => {
                if let Some(guard) = guard {
                    guard.end().await;
                }
                Err(error)
            }
        }
    }

    /// The command's exit code, once all of its output is passed on.
    async fn finish(&self, running: &mut Running) -> Result<i64> {
        self.pass_output(running).await?;
        Ok(self.engine.exec_code(running).await?)
    }

    async fn pass_output(&self, running: &mut Running) -> Result<()> {
        let mut resized = self
            .session
            .is_interactive()
            .then(|| signal(SignalKind::window_change()).ok())
            .flatten();
        self.resize(running);
        loop {
            tokio::select! {
                chunk = running.next() => match chunk? {
                    None => return Ok(()),
                    Some(Chunk::Out(bytes)) => self.session.out(&bytes).await.map_err(Error::from)?,
                    Some(Chunk::Err(bytes)) => self.session.err(&bytes).await,
                },
                Some(()) = changed(&mut resized) => self.resize(running),
            }
        }
    }

    /// Tells the command's terminal the size of this one. Nothing waits for it: a
    /// command may have ended before its terminal could be resized.
    fn resize(&self, running: &Running) {
        if let Some(size) = self.session.size() {
            tokio::spawn(self.engine.resize(running, size.width, size.height));
        }
    }
}

/// Passes this process's standard input on. In a task of its own: a read that waits for
/// a key must not keep the command's end from being seen.
async fn pass_input(mut input: Input) {
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
async fn changed(resized: &mut Option<Signal>) -> Option<()> {
    match resized {
        Some(resized) => resized.recv().await,
        None => std::future::pending().await,
    }
}
