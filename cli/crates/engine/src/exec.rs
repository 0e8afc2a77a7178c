//! Commands inside a running container.

use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWrite;

use super::{Engine, EngineError};

/// The keys that leave a command's terminal, four control keys in a row. The engine's
/// own would be Ctrl-P, Ctrl-Q: it holds back each Ctrl-P, which shells and psql use.
const DETACH_KEYS: &str = "ctrl-^,ctrl-],ctrl-^,ctrl-]";

/// How long to wait before it is looked again whether a command has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How often a terminal that is only just being made is told its size.
const RESIZE_ATTEMPTS: usize = 10;

/// The exit code of a command whose own the engine does not know.
const UNKNOWN_EXIT_CODE: i64 = 255;

/// A command to run in a container.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Environment variables besides the container's own, as `NAME=value`.
    pub env: Vec<String>,
    /// The user, where not the container's own.
    pub user: Option<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Give it a standard input.
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

/// Some of what a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputChunk {
    /// To its standard output, or its terminal.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

impl ExecProcess {
    /// The command's standard input, once; after that one that swallows all.
    pub fn take_stdin(&mut self) -> ExecInput {
        self.stdin
            .take()
            .unwrap_or_else(|| Box::pin(tokio::io::sink()))
    }

    /// What it prints next; `None` when it has ended.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the connection breaks.
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

/// What a command printed, and how it ended.
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
    /// [`EngineError::Api`] where the container doesn't run.
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
        let doing = format!("run {} in container {container}", spec.command.join(" "));
        let created = self
            .docker()
            .create_exec(container, config)
            .await
            .map_err(EngineError::api(doing.clone()))?;
        let options = StartExecOptions {
            detach: false,
            tty: spec.tty,
            output_capacity: None,
        };
        let started = self
            .docker()
            .start_exec(&created.id, Some(options))
            .await
            .map_err(EngineError::api(doing.clone()))?;
        let (output, input): (Pin<Box<dyn Stream<Item = _> + Send>>, ExecInput) = match started {
            StartExecResults::Attached { output, input } => (output, input),
            // It was asked to attach; an engine that doesn't has no output to give.
            StartExecResults::Detached => (
                Box::pin(futures_util::stream::empty()),
                Box::pin(tokio::io::sink()),
            ),
        };
        Ok(ExecProcess {
            id: created.id,
            action: doing,
            output,
            stdin: Some(input),
        })
    }

    /// The exit code of a command whose output has ended. A command that closed its
    /// output and goes on is waited for.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the container is gone.
    pub fn exec_exit_code(
        &self,
        running: &ExecProcess,
    ) -> impl Future<Output = Result<i64, EngineError>> + Send + use<> {
        // Only the id goes along: the streams can't be shared by threads.
        let (docker, id) = (self.docker().clone(), running.id.clone());
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

    /// Tells a command's terminal its size in characters. A command that has ended
    /// has none, and one that is about to start has none yet.
    pub fn resize_terminal(
        &self,
        running: &ExecProcess,
        width: u16,
        height: u16,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (docker, id) = (self.docker().clone(), running.id.clone());
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

    /// Runs a command to its end and collects what it prints.
    ///
    /// # Errors
    /// [`EngineError::Api`] where it can't be run; a command that fails is no error.
    pub async fn exec_output(
        &self,
        container: &str,
        spec: &ExecSpec,
    ) -> Result<ExecOutput, EngineError> {
        let mut running = self.exec(container, spec).await?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(chunk) = running.next_chunk().await? {
            match chunk {
                OutputChunk::Stdout(bytes) => out.extend_from_slice(&bytes),
                OutputChunk::Stderr(bytes) => err.extend_from_slice(&bytes),
            }
        }
        Ok(ExecOutput {
            exit_code: self.exec_exit_code(&running).await?,
            stdout: out,
            stderr: err,
        })
    }
}
