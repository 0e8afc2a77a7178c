//! Runs programs of the host in process groups that can be terminated as a whole.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::error::{ImageError, disk_full_hints};

/// The number of output lines that an error contains.
pub(super) const LOG_TAIL_LINES: usize = 20;

/// How long a program may take to clean up after SIGTERM.
const TERMINATION_GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Provides the programs that image builds use.
pub trait ToolProvider: Send + Sync {
    /// Returns the path of a program, which is installed first if that is allowed.
    ///
    /// The error is the end of a sentence: why the program is unavailable.
    fn ensure_tool<'a>(&'a self, tool: &'a str) -> BoxFuture<'a, Result<PathBuf, String>>;
}

/// Finds programs in `PATH` and installs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PathTools;

impl ToolProvider for PathTools {
    fn ensure_tool<'a>(&'a self, tool: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
        let path = std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .map(|dir| dir.join(tool))
            .find(|candidate| candidate.is_file());
        let path = path.ok_or_else(|| "it is not in PATH".to_owned());
        Box::pin(std::future::ready(path))
    }
}

/// The last lines of the output of a program.
#[derive(Debug, Default)]
pub(super) struct LogTail(VecDeque<String>);

impl LogTail {
    /// Adds a line without its line end. Blank lines are ignored.
    pub(super) fn push(&mut self, line: &str) {
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if self.0.len() == LOG_TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    /// Returns the lines, oldest first.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.0.into()
    }

    /// Returns whether there are no lines.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a line contains a text.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.0.iter().any(|line| line.contains(text))
    }
}

/// Runs a program to its end, in its own process group. On cancellation the whole
/// group receives SIGTERM and, 2 s later, SIGKILL. Each line of output is passed to
/// `on_line`.
pub(super) async fn run_program(
    program: &str,
    command: Command,
    cancel: &CancellationToken,
    mut on_line: impl FnMut(&str),
) -> Result<(), ImageError> {
    run_program_filtered(program, command, cancel, |line| {
        on_line(line);
        true
    })
    .await
}

/// Runs a program as [`run_program`] does. An error contains only the lines for which
/// `on_line` returns true, without machine-readable output.
pub(super) async fn run_program_filtered(
    program: &str,
    mut command: Command,
    cancel: &CancellationToken,
    mut on_line: impl FnMut(&str) -> bool,
) -> Result<(), ImageError> {
    let failed = |reason: String, log: LogTail| ImageError::Program {
        program: program.to_owned(),
        hints: output_hints(&log),
        reason,
        log: log.into_lines(),
    };
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string(), LogTail::default()))?;
    let (sender, mut lines) = tokio::sync::mpsc::channel(64);
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(forward_lines(stdout, sender.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(forward_lines(stderr, sender.clone()));
    }
    drop(sender);
    let mut tail = LogTail::default();
    loop {
        tokio::select! {
            () = cancel.cancelled() => {
                terminate_group(&mut child).await;
                return Err(ImageError::Cancelled);
            }
            line = lines.recv() => match line {
                Some(line) => {
                    if on_line(&line) {
                        tail.push(&line);
                    }
                }
                None => break,
            },
        }
    }
    let status = tokio::select! {
        () = cancel.cancelled() => {
            terminate_group(&mut child).await;
            return Err(ImageError::Cancelled);
        }
        status = child.wait() => status.map_err(ImageError::io(format!("wait for {program}")))?,
    };
    if status.success() {
        Ok(())
    } else {
        Err(failed(status.to_string(), tail))
    }
}

/// Forwards lines of output. A carriage return, as in a progress bar, also ends a line.
async fn forward_lines(output: impl AsyncRead + Unpin, lines: tokio::sync::mpsc::Sender<String>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = read_line(&mut reader, &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if lines.send(text).await.is_err() {
            break;
        }
    }
}

/// Reads up to a line feed, a carriage return or the end. Returns the number of bytes read.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<usize> {
    loop {
        let buffer = reader.fill_buf().await?;
        let end = buffer.iter().position(|byte| b"\n\r".contains(byte));
        let taken = end.map_or(buffer.len(), |end| end + 1);
        line.extend_from_slice(&buffer[..taken]);
        reader.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(line.len());
        }
    }
}

/// Terminates a child and all processes of its group.
async fn terminate_group(child: &mut Child) {
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    let Some(group) = group else {
        return;
    };
    let signal = |signal| {
        if let Err(error) = rustix::process::kill_process_group(group, signal) {
            tracing::debug!(%error, "the process group is gone already");
        }
    };
    signal(rustix::process::Signal::TERM);
    if tokio::time::timeout(TERMINATION_GRACE_PERIOD, child.wait())
        .await
        .is_err()
    {
        tracing::debug!("the program ignores SIGTERM");
    }
    // The leader may have ended while other processes of the group still run.
    signal(rustix::process::Signal::KILL);
    if let Err(error) = child.wait().await {
        tracing::debug!(%error, "could not wait for the program");
    }
    // The processes take a moment to end, and the caller removes their files next.
    let gone = async {
        while rustix::process::test_kill_process_group(group).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(TERMINATION_GRACE_PERIOD, gone)
        .await
        .is_err()
    {
        tracing::debug!("the children of the program have not been reaped");
    }
}

/// Returns suggestions for known messages of package and download tools.
pub(super) fn output_hints(log: &LogTail) -> Vec<String> {
    let mentions = |texts: &[&str]| texts.iter().any(|text| log.contains(text));
    if mentions(&["No space left on device", "no space left on device"]) {
        return disk_full_hints();
    }
    if mentions(&[
        "certificate verify failed",
        "certificate verification failed",
        "unable to find valid certification path",
        "self-signed certificate",
        "x509:",
    ]) {
        return vec![
            "add the certificate authority of your network to images.extra_ca_certificates in dm.toml"
                .into(),
        ];
    }
    if mentions(&[
        "Temporary failure resolving",
        "Could not resolve",
        "Unable to connect to",
        "Could not connect to",
        "Connection timed out",
        "Connection refused",
        "Failed to fetch",
        "Unable to locate package",
        "Could not transfer artifact",
    ]) {
        return vec![
            "check the network, or set other servers in images.apt_mirror and images.maven_mirror in dm.toml"
                .into(),
        ];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn failed_program_reports_exit_status_and_last_lines() {
        let script = "seq 1 30; echo 'No space left on device' >&2; exit 3";
        let error = run_program("sh", shell(script), &CancellationToken::new(), |_| {})
            .await
            .unwrap_err();
        let ImageError::Program {
            reason, log, hints, ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(reason, "exit status: 3");
        assert_eq!(log.len(), LOG_TAIL_LINES);
        assert!(hints[0].contains("dm images prune"));
    }

    #[tokio::test]
    async fn cancelled_program_terminates_its_process_group() {
        let cancel = CancellationToken::new();
        let dir = tempfile::tempdir().unwrap();
        let alive = dir.path().join("alive");
        std::fs::write(&alive, "").unwrap();
        // The grandchild ignores SIGTERM.
        let script = "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done' & wait";
        let token = cancel.clone();
        let mut command = shell(script);
        command.current_dir(dir.path());
        let result = run_program("sh", command, &cancel, |_| token.cancel()).await;
        assert!(matches!(result, Err(ImageError::Cancelled)));
        // No process is left that has the directory as its working directory.
        let remaining = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok())
            .filter(|cwd| cwd == dir.path())
            .count();
        assert_eq!(remaining, 0);
    }
}
