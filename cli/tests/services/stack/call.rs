//! Calls of `dm` whose progress a test follows.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

use super::{dm_command, instance};

/// A call that takes longer than this is treated as hanging. Slow machines need minutes.
const TIMEOUT: Duration = Duration::from_secs(420);

/// A call on the instance that runs while a test reads its progress. It is killed if the test
/// fails.
pub(crate) struct FollowedCall {
    /// The arguments, for errors.
    arguments: String,
    process: Child,
    /// Receives the lines of stderr.
    progress: Receiver<String>,
    /// The lines that have been received.
    lines: Vec<String>,
    /// Receives stdout as a whole when it ends.
    stdout: Receiver<Vec<u8>>,
    /// When the call is treated as hanging.
    until: Instant,
}

impl FollowedCall {
    /// Starts a call.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failed> {
        let mut process = dm_command()
            .args(["--instance", instance()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut pipe = process.stdout.take().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (send_line, progress) = mpsc::channel();
        let (send_stdout, stdout) = mpsc::channel();
        // The threads read to the end, even if the test does not, because the process must not block
        // on a full pipe.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send_line.send(line);
            }
        });
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let _ = send_stdout.send(bytes);
        });
        Ok(Self {
            arguments: arguments.join(" "),
            process,
            progress,
            lines: Vec::new(),
            stdout,
            until: Instant::now() + TIMEOUT,
        })
    }

    /// Reads the progress up to a line that contains a text.
    pub(crate) fn wait_for(&mut self, text: &str) -> Result<(), Failed> {
        while let Some(line) = self.next_line()? {
            if line.contains(text) {
                return Ok(());
            }
        }
        Err(self.error(&format!("ended without `{text}`")))
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }

    /// Executes an action while the process is stopped, so that the process does not end before
    /// the action.
    pub(crate) fn while_stopped<T>(
        &self,
        action: impl FnOnce() -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        self.signal(Signal::STOP)?;
        let result = action();
        self.signal(Signal::CONT)?;
        result
    }

    /// Waits until the call has ended, and returns its output.
    pub(crate) fn finish(mut self) -> Result<Output, Failed> {
        while self.next_line()?.is_some() {}
        let left = self.until.saturating_duration_since(Instant::now());
        let stdout = self.stdout.recv_timeout(left);
        Ok(Output {
            stdout: stdout.map_err(|_| self.error("did not end in time"))?,
            status: self.process.wait()?,
            stderr: self.lines.join("\n").into_bytes(),
        })
    }

    /// Returns the next line of the progress, or `None` at its end.
    fn next_line(&mut self) -> Result<Option<&str>, Failed> {
        let left = self.until.saturating_duration_since(Instant::now());
        match self.progress.recv_timeout(left) {
            Ok(line) => {
                self.lines.push(line);
                Ok(self.lines.last().map(String::as_str))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(self.error("did not end in time")),
        }
    }

    fn error(&self, problem: &str) -> Failed {
        let lines = self.lines.join("\n");
        format!("dm {} {problem}:\n{lines}", self.arguments).into()
    }
}

impl Drop for FollowedCall {
    fn drop(&mut self) {
        // Both fail if the process has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a call and kills it when its stderr contains a text.
pub(crate) fn kill_at(arguments: &[&str], text: &str) -> Result<(), Failed> {
    signal_at(arguments, text, Signal::KILL).map(drop)
}

/// Starts a call and sends it a signal when its stderr contains a text.
pub(crate) fn signal_at(
    arguments: &[&str],
    text: &str,
    signal: Signal,
) -> Result<ExitStatus, Failed> {
    let mut call = FollowedCall::start(arguments)?;
    call.wait_for(text)?;
    call.signal(signal)?;
    Ok(call.finish()?.status)
}
