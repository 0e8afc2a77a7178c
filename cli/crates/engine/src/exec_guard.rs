//! Ends a command in a container together with the process that started it.
//!
//! A command in a container continues when its client ends. Therefore a second command in
//! the container, the guard, waits at the other end of a connection to this process. When
//! the connection breaks, even by `kill -9`, the guard ends the command and the processes that it
//! started, also those in a session of their own. A process whose parent ended before is left.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::exec::{ExecInput, ExecOutput, ExecProcess, ExecSpec, OutputChunk};
use super::{Engine, EngineError};

/// The script of the guard.
const GUARD_SCRIPT: &str = include_str!("guard.sh");

/// Registers its process at the guard and executes the command. If the guard has ended, the
/// process that started the command has ended, too.
const REGISTER_SCRIPT: &str = r#"{ echo $$ >"/proc/$1/fd/0"; } 2>/dev/null || kill -0 "$1" 2>/dev/null || exit 1
shift
exec "$@""#;

/// How long a guard may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a guard may take to end a command: about twice the 4.2 s that the guard waits before
/// it kills the command.
const END_TIMEOUT: Duration = Duration::from_secs(8);

/// A guard in a container. Dropping it ends the command.
pub struct ExecGuard {
    process: ExecProcess,
    stdin: ExecInput,
    pid: u32,
}

impl Engine {
    /// Starts a guard for a command of this user. Returns `None` if the container has no shell
    /// or does not run.
    pub async fn start_exec_guard(&self, container: &str, user: Option<&str>) -> Option<ExecGuard> {
        let spec = ExecSpec {
            command: ["sh", "-c", GUARD_SCRIPT].map(str::to_owned).to_vec(),
            // Only the same user may open the guard's input.
            user: user.map(str::to_owned),
            stdin: true,
            ..ExecSpec::default()
        };
        let mut process = self.exec(container, &spec).await.ok()?;
        let stdin = process.take_stdin();
        let pid = timeout(START_TIMEOUT, read_first_line(&mut process))
            .await
            .ok()?;
        Some(ExecGuard {
            process,
            stdin,
            pid: pid?.parse().ok()?,
        })
    }
}

impl Engine {
    /// Runs a command as [`Engine::exec_output`] does, and ends the command when this process
    /// exits, if a guard could be started.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the command cannot be run.
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
    /// Wraps a command so that it registers its process at this guard.
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

    /// Ends the guard after the command has ended. Background processes of the command continue.
    pub async fn release(mut self) {
        let _ = self.stdin.write_all(b"ended\n").await;
        let _ = self.stdin.shutdown().await;
    }

    /// Ends the command and waits until it has ended.
    pub async fn terminate(mut self) {
        let _ = self.stdin.shutdown().await;
        let end = async { while let Ok(Some(_)) = self.process.next_chunk().await {} };
        let _ = timeout(END_TIMEOUT, end).await;
    }
}

/// Reads the first line of a command's output.
async fn read_first_line(process: &mut ExecProcess) -> Option<String> {
    let mut line = Vec::new();
    while let Ok(Some(chunk)) = process.next_chunk().await {
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
