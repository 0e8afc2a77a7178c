//! Commands inside a running container.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWrite;

use super::{Engine, EngineError};

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
pub struct Running {
    id: String,
    /// What it prints.
    pub output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    /// Its standard input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i64,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: Vec<u8>,
}

impl Engine {
    /// Starts a command in a container.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the container doesn't run.
    pub async fn exec(&self, container: &str, spec: &ExecSpec) -> Result<Running, EngineError> {
        let config = ExecConfig {
            attach_stdin: Some(spec.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(spec.tty),
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
        let options = StartExecOptions { detach: false, tty: spec.tty, output_capacity: None };
        let started = self
            .docker()
            .start_exec(&created.id, Some(options))
            .await
            .map_err(EngineError::api(doing))?;
        match started {
            StartExecResults::Attached { output, input } => {
                Ok(Running { id: created.id, output, input })
            }
            // It was asked to attach; an engine that doesn't has no output to give.
            StartExecResults::Detached => Ok(Running {
                id: created.id,
                output: Box::pin(futures_util::stream::empty()),
                input: Box::pin(tokio::io::sink()),
            }),
        }
    }

    /// The exit code of a command whose output has ended.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the container is gone.
    pub async fn exec_code(&self, running: &Running) -> Result<i64, EngineError> {
        let inspected = self
            .docker()
            .inspect_exec(&running.id)
            .await
            .map_err(EngineError::api("read a command's exit code"))?;
        Ok(inspected.exit_code.unwrap_or_default())
    }

    /// Tells a command's terminal its size in characters.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the command has ended.
    pub async fn resize(&self, running: &Running, width: u16, height: u16) -> Result<(), EngineError> {
        self.docker()
            .resize_exec(&running.id, ResizeExecOptions { height, width })
            .await
            .map_err(EngineError::api("resize a command's terminal"))
    }

    /// Runs a command to its end and collects what it prints.
    ///
    /// # Errors
    /// [`EngineError::Api`] where it can't be run; a command that fails is no error.
    pub async fn exec_collect(&self, container: &str, spec: &ExecSpec) -> Result<Output, EngineError> {
        let mut running = self.exec(container, spec).await?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(chunk) = running.output.next().await {
            match chunk.map_err(EngineError::api(format!("read from container {container}")))? {
                LogOutput::StdErr { message } => err.extend_from_slice(&message),
                other => out.extend_from_slice(&other.into_bytes()),
            }
        }
        Ok(Output { code: self.exec_code(&running).await?, out, err })
    }
}
