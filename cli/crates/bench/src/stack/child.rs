//! A command of `dm` as a user starts it: how long it takes, and how much memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Stack;
use crate::error::BenchError;

/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What a command took.
pub(super) struct Finished {
    /// From its start to its end.
    pub(super) time: Duration,
    /// The most memory that it had, in bytes; 0 where this system doesn't tell.
    pub(super) memory: u64,
    /// What it printed.
    pub(super) output: Vec<u8>,
}

/// Runs a command to its end.
///
/// # Errors
/// It can't be started, or fails.
pub(super) async fn run(stack: &Stack<'_>, arguments: &[&str]) -> Result<Finished, BenchError> {
    let program = &stack.bench.dm.path;
    let spawn = |source| BenchError::Spawn {
        program: program.display().to_string(),
        source,
    };
    let began = Instant::now();
    let child = Command::new(program)
        .current_dir(&stack.desk.project.instance.root)
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
            () = tokio::time::sleep(LOOK) => {
                memory = memory.max(process.and_then(peak).unwrap_or_default());
            }
        }
    };
    let time = began.elapsed();
    if !output.status.success() {
        return Err(BenchError::Request {
            request: format!("dm {}", arguments.join(" ")),
            what: output.status.to_string(),
        });
    }
    Ok(Finished {
        time,
        memory,
        output: output.stdout,
    })
}

/// The most memory that a process had so far.
#[cfg(target_os = "linux")]
fn peak(process: u32) -> Option<u64> {
    let process = procfs::process::Process::new(i32::try_from(process).ok()?).ok()?;
    // In kibibytes.
    process.status().ok()?.vmhwm.map(|peak| peak * 1024)
}

#[cfg(not(target_os = "linux"))]
fn peak(_: u32) -> Option<u64> {
    None
}
