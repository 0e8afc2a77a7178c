//! Tests of the configuration as a whole.

mod fuzz;
mod generated;
mod laws;
mod layering;
mod reports;
mod showing;

use std::ffi::OsString;
use std::path::Path;

use super::{Config, ConfigError, LoadOptions, Loaded, Override};

/// A project in a directory of its own.
struct Project {
    directory: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
    overrides: Vec<Override>,
}

impl Project {
    /// One with this `dm.toml`.
    fn new(file: &str) -> Self {
        let project = Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            overrides: Vec::new(),
        };
        project.write("dm.toml", file)
    }

    fn write(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.root().join(name), text).unwrap();
        self
    }

    fn local(self, file: &str) -> Self {
        self.write("dm.local.toml", file)
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn set(mut self, pair: &str) -> Self {
        self.overrides.push(Override::set(pair));
        self
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn options(&self) -> LoadOptions {
        LoadOptions {
            project_dir: None,
            current_dir: self.root().to_owned(),
            overrides: self.overrides.clone(),
        }
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        Config::load(&self.options(), self.variables.clone())
    }

    fn loaded(&self) -> Loaded {
        self.load()
            .unwrap_or_else(|error| panic!("{error}: {:#?}", error.problems()))
    }
}
