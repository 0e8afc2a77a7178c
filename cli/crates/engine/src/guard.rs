//! The end of a command in a container together with the process that started it.
//!
//! An engine lets a command go on when its client goes away, however that ended. So a
//! second command in the container, the guard, waits at the other end of a connection
//! to this process. When the connection breaks, be it by `kill -9`, the guard ends the
//! command and its children.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::exec::{Chunk, ExecSpec, Input, Output, Running};
use super::{Engine, EngineError};

/// What the guard does.
const SCRIPT: &str = include_str!("guard.sh");

/// Tells the guard the process that the command is going to be, and becomes the command.
/// Where the guard is gone, so is the process that wanted the command.
const REGISTER: &str = r#"{ echo $$ >"/proc/$1/fd/0"; } 2>/dev/null || kill -0 "$1" 2>/dev/null || exit 1
shift
exec "$@""#;

/// How long a guard may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a guard may take to end a command: a little longer than it gives the
/// command before it kills it.
const END_LIMIT: Duration = Duration::from_secs(8);

/// A guard that waits in a container. Dropping it ends the command.
pub struct Guard {
    running: Running,
    input: Input,
    pid: u32,
}

impl Engine {
    /// Starts a guard for a command of this user. `None` where there can be none, since
    /// the container has no shell or does not run.
    pub async fn guard(&self, container: &str, user: Option<&str>) -> Option<Guard> {
        let spec = ExecSpec {
            command: ["sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
            // Only the same user may open the guard's input.
            user: user.map(str::to_owned),
            stdin: true,
            ..ExecSpec::default()
        };
        let mut running = self.exec(container, &spec).await.ok()?;
        let input = running.take_input();
        let pid = timeout(START_LIMIT, first_line(&mut running)).await.ok()?;
        Some(Guard {
            running,
            input,
            pid: pid?.parse().ok()?,
        })
    }
}

impl Engine {
    /// As [`Engine::exec_collect`], of a command that ends with this process.
    ///
    /// # Errors
    /// As for that.
    pub async fn exec_collect_guarded(
        &self,
        container: &str,
        spec: &ExecSpec,
    ) -> Result<Output, EngineError> {
        let Some(guard) = self.guard(container, spec.user.as_deref()).await else {
            return self.exec_collect(container, spec).await;
        };
        let output = self.exec_collect(container, &guard.guarded(spec)).await?;
        guard.release().await;
        Ok(output)
    }
}

impl Guard {
    /// The command, such that this guard knows its process.
    #[must_use]
    pub fn guarded(&self, spec: &ExecSpec) -> ExecSpec {
        let mut command = ["sh", "-c", REGISTER, "sh"].map(str::to_owned).to_vec();
        command.push(self.pid.to_string());
        command.extend(spec.command.iter().cloned());
        ExecSpec {
            command,
            ..spec.clone()
        }
    }

    /// Lets the guard go: the command has ended. What it left in the background stays.
    pub async fn release(mut self) {
        let _ = self.input.write_all(b"ended\n").await;
        let _ = self.input.shutdown().await;
    }

    /// Ends the command and waits until it has ended.
    pub async fn end(mut self) {
        let _ = self.input.shutdown().await;
        let ended = async { while let Ok(Some(_)) = self.running.next().await {} };
        let _ = timeout(END_LIMIT, ended).await;
    }
}

/// The first line that a command prints.
async fn first_line(running: &mut Running) -> Option<String> {
    let mut line = Vec::new();
    while let Ok(Some(chunk)) = running.next().await {
        let Chunk::Out(bytes) = chunk else {
            continue;
        };
        line.extend_from_slice(&bytes);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).ok();
        }
    }
    None
}
