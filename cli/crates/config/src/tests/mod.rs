//! Tests of the complete configuration.

mod diagnostics;
mod effective_values;
mod fuzz;
mod generated;
mod layering;
mod properties;

use std::ffi::OsString;
use std::path::Path;

use super::{Config, ConfigError, ConfigOverride, LoadOptions, LoadedConfig};

/// A project in a temporary directory.
struct TestProject {
    directory: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
    overrides: Vec<ConfigOverride>,
}

impl TestProject {
    /// Creates a project with this `dm.toml`.
    fn new(file: &str) -> Self {
        let project = Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            overrides: Vec::new(),
        };
        project.with_file("dm.toml", file)
    }

    fn with_file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.root().join(name), text).unwrap();
        self
    }

    fn with_local_config(self, file: &str) -> Self {
        self.with_file("dm.local.toml", file)
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn with_override(mut self, pair: &str) -> Self {
        self.overrides.push(ConfigOverride::from_set_option(pair));
        self
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn load_options(&self) -> LoadOptions {
        LoadOptions {
            project_dir: None,
            current_dir: self.root().to_owned(),
            overrides: self.overrides.clone(),
        }
    }

    fn load(&self) -> Result<LoadedConfig, ConfigError> {
        Config::load(&self.load_options(), self.variables.clone())
    }

    fn load_valid(&self) -> LoadedConfig {
        self.load()
            .unwrap_or_else(|error| panic!("{error}: {:#?}", error.diagnostics()))
    }
}
