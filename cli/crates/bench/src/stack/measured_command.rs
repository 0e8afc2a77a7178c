//! Runs a command of `dm` and measures its duration and its peak memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::BenchStack;
use crate::error::BenchError;

/// The interval between measurements of the memory.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The resource usage and the output of a command.
pub(super) struct CommandUsage {
    /// The time from start to end.
    pub(super) duration: Duration,
    /// The peak memory in bytes, or 0 if the system does not report it.
    pub(super) peak_memory: u64,
    /// The standard output.
    pub(super) output: Vec<u8>,
}

/// Runs a command to its end.
///
/// # Errors
/// Returns [`BenchError::Spawn`] if the command cannot be started, and
/// [`BenchError::RequestFailed`] if it fails.
pub(super) async fn run_measured(
    stack: &BenchStack<'_>,
    arguments: &[&str],
) -> Result<CommandUsage, BenchError> {
    let program = &stack.context.dm.path;
    let spawn_failed = |source| BenchError::Spawn {
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
        .map_err(spawn_failed)?;
    let process_id = child.id();
    let exit = child.wait_with_output();
    let mut exit = std::pin::pin!(exit);
    let mut peak_memory = 0;
    let output = loop {
        tokio::select! {
            output = &mut exit => break output.map_err(spawn_failed)?,
            () = tokio::time::sleep(POLL_INTERVAL) => {
                peak_memory = peak_memory.max(process_id.and_then(read_peak_memory).unwrap_or_default());
            }
        }
    };
    let duration = began.elapsed();
    if !output.status.success() {
        return Err(BenchError::RequestFailed {
            request: format!("dm {}", arguments.join(" ")),
            reason: output.status.to_string(),
        });
    }
    Ok(CommandUsage {
        duration,
        peak_memory,
        output: output.stdout,
    })
}

/// Returns the peak memory of a process so far, in bytes.
#[cfg(target_os = "linux")]
fn read_peak_memory(process_id: u32) -> Option<u64> {
    let process = procfs::process::Process::new(i32::try_from(process_id).ok()?).ok()?;
    // procfs reports kibibytes.
    process.status().ok()?.vmhwm.map(|peak| peak * 1024)
}

#[cfg(not(target_os = "linux"))]
fn read_peak_memory(_: u32) -> Option<u64> {
    None
}
