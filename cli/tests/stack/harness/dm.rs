//! The program under test.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::project::Project;
use super::run;

/// After this long a call of `dm` hangs, on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(420);

/// A call of `dm` that is being put together.
pub(crate) struct Dm<'a> {
    project: &'a Project,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    input: Vec<u8>,
    patience: Duration,
}

impl<'a> Dm<'a> {
    /// A call in a project's folder.
    pub(crate) fn new(project: &'a Project, arguments: &[&str]) -> Self {
        Self {
            project,
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
            environment: run::environment(),
            input: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// With a variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// With this on its standard input, which ends after it.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// With this much time, for what builds images.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts it.
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
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = self.input;
        // A command that never reads its input must not block the test.
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let stdout = Stream::read(child.stdout.take().expect("it is piped"));
        let stderr = Stream::read(child.stderr.take().expect("it is piped"));
        Running {
            call: format!("dm {}", self.arguments.join(" ")),
            until: Instant::now() + self.patience,
            child,
            stdout,
            stderr,
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Runs it and expects that it does what was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> Output {
        self.run().exits(0)
    }
}

/// What a pipe has brought so far.
struct Stream {
    state: Arc<(Mutex<Brought>, Condvar)>,
}

#[derive(Default)]
struct Brought {
    bytes: Vec<u8>,
    ended: bool,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let state: Arc<(Mutex<Brought>, Condvar)> = Arc::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut brought = shared.0.lock().expect("no reader panics");
                brought.bytes.extend_from_slice(&buffer[..count]);
                brought.ended = count == 0;
                shared.1.notify_all();
                if brought.ended {
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

    /// Waits until the pipe is closed.
    fn ended(&self, until: Instant) -> bool {
        self.find(|_| false, until);
        self.state.0.lock().expect("no reader panics").ended
    }

    /// The first whole line that is wanted; `None` where the pipe ends before.
    fn find(&self, wanted: impl Fn(&str) -> bool, until: Instant) -> Option<String> {
        let mut brought = self.state.0.lock().expect("no reader panics");
        let mut seen = 0;
        loop {
            while let Some(length) = brought.bytes[seen..].iter().position(|&it| it == b'\n') {
                let line = String::from_utf8_lossy(&brought.bytes[seen..seen + length]);
                if wanted(&line) {
                    return Some(line.into_owned());
                }
                seen += length + 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if brought.ended || left.is_zero() {
                return None;
            }
            brought = self
                .state
                .1
                .wait_timeout(brought, left)
                .expect("no reader panics")
                .0;
        }
    }
}

/// A `dm` that runs.
pub(crate) struct Running {
    call: String,
    until: Instant,
    child: Child,
    stdout: Stream,
    stderr: Stream,
}

impl Running {
    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal. One that has ended in the meantime is fine.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Waits for a line on stderr; `false` where it ends without one.
    #[track_caller]
    pub(crate) fn sees(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.stderr.find(wanted, self.until).is_some()
    }

    /// Waits for an event of `--progress json`; `false` where the run ends without it.
    #[track_caller]
    pub(crate) fn sees_event(&self, wanted: impl Fn(&Value) -> bool) -> bool {
        self.sees(|line| serde_json::from_str(line).is_ok_and(|event| wanted(&event)))
    }

    /// Waits for a line on stdout.
    #[track_caller]
    pub(crate) fn prints(&self, wanted: &str) {
        if self
            .stdout
            .find(|line| line.contains(wanted), self.until)
            .is_none()
        {
            panic!("no line with {wanted:?} came\n{}", self.so_far());
        }
    }

    fn so_far(&self) -> String {
        format!(
            "── {}\n── stdout\n{}── stderr\n{}──",
            self.call,
            self.stdout.text(),
            self.stderr.text()
        )
    }

    /// Waits for its end. One that hangs is killed, and the test fails.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        if !(self.stdout.ended(self.until) && self.stderr.ended(self.until)) {
            let _ = self.child.kill();
            panic!("dm hangs and was killed\n{}", self.so_far());
        }
        let status = self.child.wait().expect("it is our child");
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
        // A test that failed half way must leave no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a call of `dm` ended.
pub(crate) struct Output {
    call: String,
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed, as text.
    pub stdout: String,
    /// What it printed, byte by byte.
    pub raw: Vec<u8>,
    /// What it told on stderr.
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

    /// Expects this somewhere in what it told on stderr.
    #[track_caller]
    pub(crate) fn tells(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Expects this somewhere in what it printed.
    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}\n{self}");
        self
    }

    /// What it printed, without the last line end.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim_end()
    }

    /// The JSON document that it printed, which has this schema.
    #[track_caller]
    pub(crate) fn document(&self, schema: &str) -> Value {
        let document: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON: {error}\n{self}"));
        assert!(
            document["schema"] == schema,
            "the schema is not {schema}\n{self}"
        );
        document
    }

    /// The events of `--progress json`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stderr
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| {
                    panic!("stderr has a line that is no JSON: {error}: {line}\n{self}")
                })
            })
            .collect()
    }

    /// The one report of a failed component.
    #[track_caller]
    pub(crate) fn failure(&self) -> Value {
        let mut failures: Vec<Value> = self
            .events()
            .into_iter()
            .filter(|event| event["event"] == "failed")
            .collect();
        assert!(
            failures.len() == 1,
            "not one failure but {}\n{self}",
            failures.len()
        );
        failures.remove(0)
    }
}
