//! A project of a test, and the `dm` that is called in it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::assert::OutputAssertExt as _;
use tempfile::TempDir;

/// A folder that may hold a `dm.toml`.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// A project with this `dm.toml`.
    pub(crate) fn new(toml: &str) -> Self {
        let project = Self::none();
        project.write("dm.toml", toml);
        project
    }

    /// A folder that is no project.
    pub(crate) fn none() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Its folder.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in the project")).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A call of `dm` in it, with nothing of the caller's environment.
    pub(crate) fn dm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("HOME", self.root())
            .env("XDG_STATE_HOME", self.root().join("state"))
            // Whatever asks for an engine is told that there is none.
            .env("DOCKER_HOST", "unix:///nowhere/engine.sock")
            .stdin(Stdio::null());
        command
    }

    /// What a call says: its exit code and both streams, with the folder's
    /// path replaced, which is another one in every run.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        self.report(&mut self.dm(arguments))
    }

    /// As [`Project::says`], of a call that was put together before.
    pub(crate) fn report(&self, command: &mut Command) -> String {
        let assert = command.assert();
        let output = assert.get_output();
        let mut report = String::new();
        let code = output.status.code();
        writeln!(report, "exit code: {}", code.expect("no signal ended it")).unwrap();
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes);
            if !text.is_empty() {
                write!(report, "── {name}\n{text}").unwrap();
            }
        }
        report.replace(&*self.root().to_string_lossy(), "[PROJECT]")
    }
}
