//! Loading: find the project, read the layers, check each by itself and all of
//! them together.

use std::ffi::OsString;
use std::path::{Path as FsPath, PathBuf};

use super::config_tree::ConfigNode;
use super::defaults::DEFAULTS_TOML;
use super::diagnose::Diagnoser;
use super::diagnostic::{ConfigDiagnostic, ConfigDiagnostics, ConfigError};
use super::layers::{ConfigLayers, ConfigOverride};
use super::merge::{MergedLayers, merge_layers};
use super::model::Config;
use super::source::{SourceKind, ValueOrigin};
use super::validate;

/// The file that makes a directory a project.
pub const CONFIG_FILE: &str = "dm.toml";
/// The file beside it that overrides it on one machine; git ignores it.
pub const LOCAL_CONFIG_FILE: &str = "dm.local.toml";
/// The variable that names the project's directory.
pub const PROJECT_DIR_VARIABLE: &str = "DM_PROJECT_DIR";

/// What to load, other than the environment.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The project's directory; without it `DM_PROJECT_DIR`, and then the
    /// nearest directory from `current_dir` upwards that holds a `dm.toml`.
    pub project_dir: Option<PathBuf>,
    /// The current directory.
    pub current_dir: PathBuf,
    /// What flags set; later ones win.
    pub overrides: Vec<ConfigOverride>,
}

/// A configuration and where it comes from.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// The effective configuration.
    pub config: Config,
    /// The project's directory, to which its paths are relative.
    pub root: PathBuf,
    /// What is worth a warning, e.g. a `DM_` variable that `dm` doesn't know
    /// and that resembles none of its own.
    pub warnings: Vec<ConfigDiagnostic>,
    pub(super) tree: ConfigNode,
    layers: ConfigLayers,
}

impl LoadedConfig {
    /// Where the effective value of `key` comes from, e.g. `postgres.port`.
    /// None where it has no value.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn origin(&self, key: &str) -> Option<ValueOrigin> {
        let path: Vec<&str> = key.split('.').collect();
        self.tree.get(&path).and_then(|node| self.node_origin(node))
    }

    /// Checks that the files and directories which the configuration names are
    /// there. Loading doesn't, as most commands never open them.
    ///
    /// # Errors
    ///
    /// Where some are not: all of them.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let reporter = Diagnoser::new(&self.layers);
        let missing: Vec<ConfigDiagnostic> = validate::find_missing_files(&self.config, &self.root)
            .iter()
            .map(|missing| reporter.diagnose_violation(&self.tree, missing))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid(ConfigDiagnostics::new(missing)))
    }

    pub(super) fn node_origin(&self, node: &ConfigNode) -> Option<ValueOrigin> {
        let source = self.layers.sources.get(node.span.source)?;
        Some(source.origin_at(node.span.key.start))
    }
}

impl Config {
    /// Loads the configuration: the built-in defaults, then `dm.toml`, then
    /// `dm.local.toml`, then `DM_*` of `variables`, then the overrides, each
    /// winning over those before it.
    ///
    /// # Errors
    ///
    /// Where there is no project, a file can't be read, or something in a layer
    /// is wrong: then with all problems that could be found.
    pub fn load(
        options: &LoadOptions,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<LoadedConfig, ConfigError> {
        let variables: Vec<_> = variables.into_iter().collect();
        let root = find_project_root(options, &variables)?;
        let mut layers = ConfigLayers::default();
        layers.push_toml(
            SourceKind::Defaults,
            "built-in defaults".to_owned(),
            DEFAULTS_TOML.to_owned(),
        );
        for file in [CONFIG_FILE, LOCAL_CONFIG_FILE] {
            let path = root.join(file);
            let name = if root == options.current_dir {
                file.to_owned()
            } else {
                path.display().to_string()
            };
            let found = layers.push_file(&path, name)?;
            if !found && file == CONFIG_FILE {
                return Err(ConfigError::NotAProject { directory: root });
            }
        }
        layers.push_variables(variables.into_iter());
        for given in &options.overrides {
            layers.push_override(given);
        }
        resolve_layers(layers, root)
    }
}

fn find_project_root(
    options: &LoadOptions,
    variables: &[(OsString, OsString)],
) -> Result<PathBuf, ConfigError> {
    let variable = || {
        variables
            .iter()
            .find(|(name, value)| name == PROJECT_DIR_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    if let Some(directory) = options.project_dir.clone().or_else(variable) {
        return Ok(normalize_path(&options.current_dir.join(directory)));
    }
    options
        .current_dir
        .ancestors()
        .find(|directory| directory.join(CONFIG_FILE).is_file())
        .map(FsPath::to_owned)
        .ok_or_else(|| ConfigError::ProjectNotFound {
            from: options.current_dir.clone(),
        })
}

/// The path without `.` parts: `--project-directory .` is the current directory.
fn normalize_path(path: &FsPath) -> PathBuf {
    path.components().collect()
}

fn resolve_layers(layers: ConfigLayers, root: PathBuf) -> Result<LoadedConfig, ConfigError> {
    let MergedLayers {
        tree,
        config,
        errors: faults,
    } = merge_layers(&layers);
    let reporter = Diagnoser::new(&layers);
    let mut problems = reporter.diagnose_unreadable_layers();
    let mut warnings = Vec::new();
    for fault in &faults {
        match reporter.diagnose_error(fault) {
            (problem, true) => problems.push(problem),
            (warning, false) => warnings.push(warning),
        }
    }
    if let Some(config) = &config {
        let conflicts = validate::find_violations(config)
            .into_iter()
            .filter(|conflict| !faults.iter().any(|fault| conflict.concerns(&fault.path)));
        problems.extend(conflicts.map(|conflict| reporter.diagnose_violation(&tree, &conflict)));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(LoadedConfig {
            config,
            root,
            warnings,
            tree,
            layers,
        }),
        _ => Err(ConfigError::Invalid(ConfigDiagnostics::new(problems))),
    }
}
