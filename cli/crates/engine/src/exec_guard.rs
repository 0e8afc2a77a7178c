//! The end of a command in a container together with the process that started it.
//!
//! An engine lets a command go on when its client goes away, however that ended. So a
//! second command in the container, the guard, waits at the other end of a connection
//! to this process. When the connection breaks, be it by `kill -9`, the guard ends the
//! command and its children.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::exec::{ExecInput, ExecOutput, ExecProcess, ExecSpec, OutputChunk};
use super::{Engine, EngineError};

/// What the guard does.
const GUARD_SCRIPT: &str = include_str!("guard.sh");

/// Tells the guard the process that the command is going to be, and becomes the command.
/// Where the guard is gone, so is the process that wanted the command.
const REGISTER_SCRIPT: &str = r#"{ echo $$ >"/proc/$1/fd/0"; } 2>/dev/null || kill -0 "$1" 2>/dev/null || exit 1
shift
exec "$@""#;

/// How long a guard may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a guard may take to end a command: a little longer than it gives the
/// command before it kills it.
const END_TIMEOUT: Duration = Duration::from_secs(8);

/// A guard that waits in a container. Dropping it ends the command.
pub struct ExecGuard {
    running: ExecProcess,
    stdin: ExecInput,
    pid: u32,
}

impl Engine {
    /// Starts a guard for a command of this user. `None` where there can be none, since
    /// the container has no shell or does not run.
    pub async fn start_exec_guard(&self, container: &str, user: Option<&str>) -> Option<ExecGuard> {
        let spec = ExecSpec {
            command: ["sh", "-c", GUARD_SCRIPT].map(str::to_owned).to_vec(),
            // Only the same user may open the guard's input.
            user: user.map(str::to_owned),
            stdin: true,
            ..ExecSpec::default()
        };
        let mut running = self.exec(container, &spec).await.ok()?;
        let input = running.take_stdin();
        let pid = timeout(START_TIMEOUT, read_first_line(&mut running))
            .await
            .ok()?;
        Some(ExecGuard {
            running,
            stdin: input,
            pid: pid?.parse().ok()?,
        })
    }
}

impl Engine {
    /// As [`Engine::exec_collect`], of a command that ends with this process.
    ///
    /// # Errors
    /// As for that.
    pub async fn exec_output_guarded(
        &self,
        container: &str,
        spec: &ExecSpec,
    ) -> Result<ExecOutput, EngineError> {
        let Some(guard) = self.start_exec_guard(container, spec.user.as_deref()).await else {
            return self.exec_output(container, spec).await;
        };
        let output = self
            .exec_output(container, &guard.wrap_command(spec))
            .await?;
        guard.release().await;
        Ok(output)
    }
}

impl ExecGuard {
    /// The command, such that this guard knows its process.
    #[must_use]
    pub fn wrap_command(&self, spec: &ExecSpec) -> ExecSpec {
        let mut command = ["sh", "-c", REGISTER_SCRIPT, "sh"]
            .map(str::to_owned)
            .to_vec();
        command.push(self.pid.to_string());
        command.extend(spec.command.iter().cloned());
        ExecSpec {
            command,
            ..spec.clone()
        }
    }

    /// Lets the guard go: the command has ended. What it left in the background stays.
    pub async fn release(mut self) {
        let _ = self.stdin.write_all(b"ended\n").await;
        let _ = self.stdin.shutdown().await;
    }

    /// Ends the command and waits until it has ended.
    pub async fn terminate(mut self) {
        let _ = self.stdin.shutdown().await;
        let ended = async { while let Ok(Some(_)) = self.running.next_chunk().await {} };
        let _ = timeout(END_TIMEOUT, ended).await;
    }
}

/// The first line that a command prints.
async fn read_first_line(running: &mut ExecProcess) -> Option<String> {
    let mut line = Vec::new();
    while let Ok(Some(chunk)) = running.next_chunk().await {
        let OutputChunk::Stdout(bytes) = chunk else {
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
