//! Runs commands as whole processes, timed from start to end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dm_config::overrides;
use dm_stack::event::RunEvent;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::error::BenchError;

/// The number of output lines in the error of a failed run.
const LOG_LINES: usize = 20;

/// A finished run.
#[derive(Debug)]
pub(crate) struct CommandRun {
    /// The time from before the start of the process until its end.
    pub(crate) duration: Duration,
    /// The standard error.
    pub(crate) stderr: String,
}

/// `dm` on a scratch instance.
#[derive(Debug, Clone)]
pub(crate) struct DmCommand {
    /// The program.
    pub(crate) program: PathBuf,
    /// The project directory.
    pub(crate) root: PathBuf,
    /// The values of `--set`.
    pub(crate) overrides: Vec<String>,
}

impl DmCommand {
    /// Runs a command of `dm` on an instance.
    pub(crate) async fn run_on_instance(
        &self,
        instance: &str,
        arguments: &[&str],
        interrupt: &CancellationToken,
    ) -> Result<CommandRun, BenchError> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .args(["--progress", "json", "--instance", instance])
            .arg("--project-directory")
            .arg(&self.root);
        let (variable, overrides) = overrides::to_variable(&self.overrides);
        command.env(variable, overrides);
        run_command(command, interrupt).await
    }

    /// Runs `dm --help`.
    pub(crate) async fn run_help(
        &self,
        interrupt: &CancellationToken,
    ) -> Result<CommandRun, BenchError> {
        let mut command = Command::new(&self.program);
        command.arg("--help");
        run_command(command, interrupt).await
    }
}

/// Parses the events of a run with `--progress json`.
pub(crate) fn parse_events(run: &CommandRun) -> Vec<RunEvent> {
    // Other lines are notes and warnings.
    run.stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Runs a command to its end. At an interrupt, sends SIGINT to it and waits for its end.
pub(crate) async fn run_command(
    mut command: Command,
    interrupt: &CancellationToken,
) -> Result<CommandRun, BenchError> {
    let command_line = format_command_line(&command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A terminal sends SIGINT to a whole process group. In a group of its own the
        // command gets only the signal below, and no second one that stops it at once.
        .process_group(0)
        .kill_on_drop(true);
    let failed = |source| BenchError::Spawn {
        program: command_line.clone(),
        source,
    };
    let began = Instant::now();
    let child = command.spawn().map_err(failed)?;
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let output = tokio::select! {
        output = &mut ended => output,
        () = interrupt.cancelled() => {
            if let Some(pid) = pid {
                // The process may have exited already.
                let _ = kill_process(pid, Signal::INT);
            }
            let _ = ended.await;
            return Err(BenchError::Interrupted);
        }
    }
    .map_err(failed)?;
    let run = CommandRun {
        duration: began.elapsed(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    if output.status.success() {
        return Ok(run);
    }
    let failures = parse_events(&run)
        .into_iter()
        .filter_map(|event| match event {
            RunEvent::Failed(failure) => Some(format!("{}: {}", failure.name, failure.message)),
            _ => None,
        });
    let lines: Vec<String> = run
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('{'))
        .map(str::to_owned)
        .chain(failures)
        .collect();
    Err(BenchError::CommandFailed {
        command: command_line,
        status: output.status.to_string(),
        log: lines[lines.len().saturating_sub(LOG_LINES)..].to_vec(),
    })
}

/// Formats a command line for messages.
fn format_command_line(command: &Command) -> String {
    let command = command.as_std();
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    std::iter::once(name.into_owned())
        .chain(
            command
                .get_args()
                .map(|argument| argument.to_string_lossy().into_owned()),
        )
        .collect::<Vec<_>>()
        .join(" ")
}
