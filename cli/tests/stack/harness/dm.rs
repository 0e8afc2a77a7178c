//! Calls of the program under test.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::project::Project;
use super::run;

/// A call of `dm` that takes longer than this is treated as hanging. Slow machines need minutes.
const TIMEOUT: Duration = Duration::from_secs(420);

/// A call of `dm` that is being prepared.
pub(crate) struct Dm<'a> {
    project: &'a Project,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    input: Vec<u8>,
    timeout: Duration,
}

impl<'a> Dm<'a> {
    /// Prepares a call in a project's directory.
    pub(crate) fn new(project: &'a Project, arguments: &[&str]) -> Self {
        Self {
            project,
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: run::environment(),
            input: Vec::new(),
            timeout: TIMEOUT,
        }
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the standard input. It ends after these bytes.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets the time limit, for calls that build images.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the call.
    #[track_caller]
    pub(crate) fn spawn(self) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dm"))
            .args(&self.arguments)
            .current_dir(self.project.root())
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dm was built");
        let mut stdin = child.stdin.take().expect("the stream is piped");
        let input = self.input;
        // A command that does not read its input must not block the test.
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let stdout = Stream::read(child.stdout.take().expect("the stream is piped"));
        let stderr = Stream::read(child.stderr.take().expect("the stream is piped"));
        Running {
            call: format!("dm {}", self.arguments.join(" ")),
            until: Instant::now() + self.timeout,
            child,
            stdout,
            stderr,
        }
    }

    /// Runs the call to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Runs the call and expects exit code 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Output {
        self.run().exits(0)
    }
}

/// The output of a pipe, collected by a thread.
struct Stream {
    state: Arc<(Mutex<Received>, Condvar)>,
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    closed: bool,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let state: Arc<(Mutex<Received>, Condvar)> = Arc::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut received = shared.0.lock().expect("no reader panics");
                received.bytes.extend_from_slice(&buffer[..count]);
                received.closed = count == 0;
                shared.1.notify_all();
                if received.closed {
                    return;
                }
            }
        });
        Self { state }
    }

    fn bytes(&self) -> Vec<u8> {
        self.state.0.lock().expect("no reader panics").bytes.clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits until the pipe is closed. Returns false on timeout.
    fn wait_until_closed(&self, until: Instant) -> bool {
        self.find_line(|_| false, until);
        self.state.0.lock().expect("no reader panics").closed
    }

    /// Returns the first complete line that matches, or `None` if the pipe ends before.
    fn find_line(&self, matches: impl Fn(&str) -> bool, until: Instant) -> Option<String> {
        let mut received = self.state.0.lock().expect("no reader panics");
        let mut seen = 0;
        loop {
            while let Some(length) = received.bytes[seen..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line = String::from_utf8_lossy(&received.bytes[seen..seen + length]);
                if matches(&line) {
                    return Some(line.into_owned());
                }
                seen += length + 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if received.closed || left.is_zero() {
                return None;
            }
            received = self
                .state
                .1
                .wait_timeout(received, left)
                .expect("no reader panics")
                .0;
        }
    }
}

/// A running call of `dm`.
pub(crate) struct Running {
    call: String,
    until: Instant,
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

impl Running {
    /// Returns the process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the process. It may already have ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Waits for a matching line on stderr. Returns false if the process ends without one.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.stderr.find_line(matches, self.until).is_some()
    }

    /// Waits for a matching event of `--progress json`. Returns false if the run ends without
    /// one.
    #[track_caller]
    pub(crate) fn wait_for_event(&self, matches: impl Fn(&Value) -> bool) -> bool {
        self.wait_for_stderr(|line| serde_json::from_str(line).is_ok_and(|event| matches(&event)))
    }

    /// Waits for a line on stdout that contains this text.
    #[track_caller]
    pub(crate) fn wait_for_stdout(&self, text: &str) {
        if self
            .stdout
            .find_line(|line| line.contains(text), self.until)
            .is_none()
        {
            panic!("stdout has no line with {text:?}\n{}", self.output_so_far());
        }
    }

    fn output_so_far(&self) -> String {
        format!(
            "── {}\n── stdout\n{}── stderr\n{}──",
            self.call,
            self.stdout.text(),
            self.stderr.text()
        )
    }

    /// Waits for the end of the process. Kills a process that hangs and fails the test.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        if !(self.stdout.wait_until_closed(self.until) && self.stderr.wait_until_closed(self.until))
        {
            let _ = self.child.kill();
            panic!(
                "dm did not end in time and was killed\n{}",
                self.output_so_far()
            );
        }
        let status = self
            .child
            .wait()
            .expect("the process was not waited for before");
        Output {
            code: status.code(),
            stdout: self.stdout.text(),
            raw: self.stdout.bytes(),
            stderr: self.stderr.text(),
            call: std::mem::take(&mut self.call),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must not leave a process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The result of a call of `dm`.
pub(crate) struct Output {
    call: String,
    /// The exit code, or `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The standard output as text.
    pub stdout: String,
    /// The standard output as bytes.
    pub raw: Vec<u8>,
    /// The standard error as text.
    pub stderr: String,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "── {}\n── exit code {:?}\n── stdout\n{}── stderr\n{}──",
            self.call, self.code, self.stdout, self.stderr
        )
    }
}

impl Output {
    /// Expects this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}\n{self}");
        self
    }

    /// Expects this text in the standard error.
    #[track_caller]
    pub(crate) fn stderr_contains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Expects this text in the standard output.
    #[track_caller]
    pub(crate) fn stdout_contains(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}\n{self}");
        self
    }

    /// Returns the standard output without trailing line ends.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    /// Returns the JSON document on stdout, which must have this schema.
    #[track_caller]
    pub(crate) fn document(&self, schema: &str) -> Value {
        let document: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"));
        assert!(
            document["schema"] == schema,
            "the schema is not {schema}\n{self}"
        );
        document
    }

    /// Returns the events of `--progress json`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stderr
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| {
                    panic!("stderr has a line that is not JSON: {error}: {line}\n{self}")
                })
            })
            .collect()
    }

    /// Returns the report of the only failed component.
    #[track_caller]
    pub(crate) fn failure(&self) -> Value {
        let mut failures: Vec<Value> = self
            .events()
            .into_iter()
            .filter(|event| event["event"] == "failed")
            .collect();
        assert!(
            failures.len() == 1,
            "expected one failure, found {}\n{self}",
            failures.len()
        );
        failures.remove(0)
    }
}
