//! Commands in a running container.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWrite;

use super::{Engine, EngineError};

/// The keys that detach from a command's terminal, four control keys in a row. The engine's
/// default is Ctrl-P, Ctrl-Q: it delays each Ctrl-P, which shells and psql use.
const DETACH_KEYS: &str = "ctrl-^,ctrl-],ctrl-^,ctrl-]";

/// The interval at which the end of a command is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The number of attempts to resize a terminal that is not yet created.
const RESIZE_ATTEMPTS: usize = 10;

/// The exit code of a command whose exit code the engine does not know.
const UNKNOWN_EXIT_CODE: i64 = 255;

/// A command to run in a container.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Environment variables besides the container's own, as `NAME=value`.
    pub env: Vec<String>,
    /// The user, if not the container's own.
    pub user: Option<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether it gets a standard input.
    pub stdin: bool,
}

/// A command that is running in a container.
pub struct ExecProcess {
    id: String,
    action: String,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    stdin: Option<ExecInput>,
}

/// A command's standard input.
pub type ExecInput = Pin<Box<dyn AsyncWrite + Send>>;

/// A chunk of the output of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputChunk {
    /// From its standard output, or its terminal.
    Stdout(Bytes),
    /// From its standard error.
    Stderr(Bytes),
}

impl ExecProcess {
    /// Returns the command's standard input once; later calls return a sink.
    pub fn take_stdin(&mut self) -> ExecInput {
        self.stdin
            .take()
            .unwrap_or_else(|| Box::pin(tokio::io::sink()))
    }

    /// Returns the next chunk of output, or `None` if the command has ended.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] or [`EngineError::Unreachable`] if the connection breaks.
    pub async fn next_chunk(&mut self) -> Result<Option<OutputChunk>, EngineError> {
        let Some(chunk) = self.output.next().await else {
            return Ok(None);
        };
        Ok(Some(
            match chunk.map_err(EngineError::api(self.action.clone()))? {
                LogOutput::StdErr { message } => OutputChunk::Stderr(message),
                other => OutputChunk::Stdout(other.into_bytes()),
            },
        ))
    }
}

/// The output and the exit code of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub exit_code: i64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Engine {
    /// Starts a command in a container.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the container does not run.
    pub async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<ExecProcess, EngineError> {
        let config = ExecConfig {
            attach_stdin: Some(spec.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(spec.tty),
            detach_keys: spec.tty.then(|| DETACH_KEYS.to_owned()),
            env: Some(spec.env.clone()),
            user: spec.user.clone(),
            cmd: Some(spec.command.clone()),
            ..ExecConfig::default()
        };
        let action = format!("run {} in container {container}", spec.command.join(" "));
        let created = self
            .docker()
            .create_exec(container, config)
            .await
            .map_err(EngineError::api(action.clone()))?;
        let options = StartExecOptions {
            detach: false,
            tty: spec.tty,
            output_capacity: None,
        };
        let started = self
            .docker()
            .start_exec(&created.id, Some(options))
            .await
            .map_err(EngineError::api(action.clone()))?;
        let (output, input): (Pin<Box<dyn Stream<Item = _> + Send>>, ExecInput) = match started {
            StartExecResults::Attached { output, input } => (output, input),
            // An engine that ignores the request to attach returns no output.
            StartExecResults::Detached => (
                Box::pin(futures_util::stream::empty()),
                Box::pin(tokio::io::sink()),
            ),
        };
        Ok(ExecProcess {
            id: created.id,
            action,
            output,
            stdin: Some(input),
        })
    }

    /// Returns the exit code of a command whose output has ended. Waits for a command that
    /// closed its output and still runs.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the container no longer exists.
    pub fn exec_exit_code(
        &self,
        process: &ExecProcess,
    ) -> impl Future<Output = Result<i64, EngineError>> + Send + use<> {
        // Only the id is captured: the streams cannot be shared between threads.
        let (docker, id) = (self.docker().clone(), process.id.clone());
        async move {
            loop {
                let inspected = docker
                    .inspect_exec(&id)
                    .await
                    .map_err(EngineError::api("read a command's exit code"))?;
                // The output can end a moment before the engine knows the code.
                match (inspected.running, inspected.exit_code) {
                    (Some(true), _) => tokio::time::sleep(POLL_INTERVAL).await,
                    (_, code) => return Ok(code.unwrap_or(UNKNOWN_EXIT_CODE)),
                }
            }
        }
    }

    /// Sets the size of a command's terminal in characters. Has no effect if the command has
    /// ended, and is retried while it starts.
    pub fn resize_terminal(
        &self,
        process: &ExecProcess,
        width: u16,
        height: u16,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (docker, id) = (self.docker().clone(), process.id.clone());
        async move {
            for _ in 0..RESIZE_ATTEMPTS {
                let size = ResizeExecOptions { height, width };
                if docker.resize_exec(&id, size).await.is_ok() {
                    return;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Runs a command to its end and returns its output. A nonzero exit code is not an error.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the command cannot be run.
    pub async fn exec_output(
        &self,
        container: &str,
        spec: &ExecSpec,
    ) -> Result<ExecOutput, EngineError> {
        let mut process = self.exec(container, spec).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(chunk) = process.next_chunk().await? {
            match chunk {
                OutputChunk::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                OutputChunk::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
        Ok(ExecOutput {
            exit_code: self.exec_exit_code(&process).await?,
            stdout,
            stderr,
        })
    }
}
