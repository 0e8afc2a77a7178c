//! A command of `dm` as a user starts it: how long it takes, and how much memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::BenchStack;
use crate::error::BenchError;

/// How often its memory is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a command took.
pub(super) struct CommandUsage {
    /// From its start to its end.
    pub(super) duration: Duration,
    /// The most memory that it had, in bytes; 0 where this system doesn't tell.
    pub(super) peak_memory: u64,
    /// What it printed.
    pub(super) output: Vec<u8>,
}

/// Runs a command to its end.
///
/// # Errors
/// It can't be started, or fails.
pub(super) async fn run_measured(
    stack: &BenchStack<'_>,
    arguments: &[&str],
) -> Result<CommandUsage, BenchError> {
    let program = &stack.context.dm.path;
    let spawn = |source| BenchError::Spawn {
        program: program.display().to_string(),
        source,
    };
    let began = Instant::now();
    let child = Command::new(program)
        .current_dir(&stack.clients.project.instance.root)
        .args(["--instance", stack.instance()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(spawn)?;
    let process = child.id();
    let ended = child.wait_with_output();
    let mut ended = std::pin::pin!(ended);
    let mut memory = 0;
    let output = loop {
        tokio::select! {
            output = &mut ended => break output.map_err(spawn)?,
            () = tokio::time::sleep(POLL_INTERVAL) => {
                memory = memory.max(process.and_then(peak_memory).unwrap_or_default());
            }
        }
    };
    let time = began.elapsed();
    if !output.status.success() {
        return Err(BenchError::RequestFailed {
            request: format!("dm {}", arguments.join(" ")),
            reason: output.status.to_string(),
        });
    }
    Ok(CommandUsage {
        duration: time,
        peak_memory: memory,
        output: output.stdout,
    })
}

/// The most memory that a process had so far.
#[cfg(target_os = "linux")]
fn peak_memory(process: u32) -> Option<u64> {
    let process = procfs::process::Process::new(i32::try_from(process).ok()?).ok()?;
    // In kibibytes.
    process.status().ok()?.vmhwm.map(|peak| peak * 1024)
}

#[cfg(not(target_os = "linux"))]
fn peak(_: u32) -> Option<u64> {
    None
}
