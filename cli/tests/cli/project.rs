//! The project directory of a test, and calls of `dm` in it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::assert::OutputAssertExt as _;
use tempfile::TempDir;

/// A directory that may contain a `dm.toml`.
pub(crate) struct Project {
    directory: TempDir,
}

impl Project {
    /// Creates a project with this `dm.toml`.
    pub(crate) fn new(toml: &str) -> Self {
        let project = Self::without_config();
        project.write("dm.toml", toml);
        project
    }

    /// Creates a directory that is not a project.
    pub(crate) fn without_config() -> Self {
        Self {
            directory: tempfile::tempdir().expect("could not create a directory"),
        }
    }

    /// Returns the directory.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file in the directory.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().expect("the path is in the project")).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Prepares a call of `dm` in the directory, without the caller's environment.
    pub(crate) fn dm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("HOME", self.root())
            .env("XDG_STATE_HOME", self.root().join("state"))
            // No engine is available.
            .env("DOCKER_HOST", "unix:///nowhere/engine.sock")
            .stdin(Stdio::null());
        command
    }

    /// Returns the exit code and both streams of a call. The path of the directory is replaced,
    /// because it differs in every run.
    pub(crate) fn output_of(&self, arguments: &[&str]) -> String {
        self.output_of_command(&mut self.dm(arguments))
    }

    /// Like [`Project::output_of`], for a call that was prepared before.
    pub(crate) fn output_of_command(&self, command: &mut Command) -> String {
        let assert = command.assert();
        let output = assert.get_output();
        let mut report = String::new();
        let code = output.status.code();
        writeln!(report, "exit code: {}", code.expect("a signal ended dm")).unwrap();
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes);
            if !text.is_empty() {
                write!(report, "── {name}\n{text}").unwrap();
            }
        }
        report.replace(&*self.root().to_string_lossy(), "[PROJECT]")
    }
}
