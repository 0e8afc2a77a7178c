//! Loading of a configuration: finds the project, reads the layers, and validates each layer and
//! the merged configuration.

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

/// The configuration file. Its directory is the project.
pub const CONFIG_FILE: &str = "dm.toml";
/// The file in the same directory that overrides [`CONFIG_FILE`] on one machine. Git ignores it.
pub const LOCAL_CONFIG_FILE: &str = "dm.local.toml";
/// The variable that names the project's directory.
const PROJECT_DIR_VARIABLE: &str = "DM_PROJECT_DIR";

/// The inputs of loading, except the environment.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The project's directory. Defaults to `DM_PROJECT_DIR`, and then to the nearest directory
    /// from `current_dir` upwards that contains a `dm.toml`.
    pub project_dir: Option<PathBuf>,
    /// The current directory.
    pub current_dir: PathBuf,
    /// The values that flags set. Later ones win.
    pub overrides: Vec<ConfigOverride>,
}

/// A loaded configuration with the origins of its values.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// The effective configuration.
    pub config: Config,
    /// The project's directory, to which its paths are relative.
    pub root: PathBuf,
    /// The warnings, e.g. about an unknown `DM_` variable that resembles no key.
    pub warnings: Vec<ConfigDiagnostic>,
    pub(super) tree: ConfigNode,
    layers: ConfigLayers,
}

impl LoadedConfig {
    /// Returns the origin of the effective value of `key`, e.g. `postgres.port`, or `None` if it
    /// has no value.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn origin(&self, key: &str) -> Option<ValueOrigin> {
        let path: Vec<&str> = key.split('.').collect();
        self.tree.get(&path).and_then(|node| self.node_origin(node))
    }

    /// Checks that the files and directories in the configuration exist. Loading does not check
    /// this, because most commands do not open them.
    ///
    /// # Errors
    /// Returns [`ConfigError::Invalid`] with a diagnostic for each one that is missing.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let diagnoser = Diagnoser::new(&self.layers);
        let missing: Vec<ConfigDiagnostic> = validate::find_missing_files(&self.config, &self.root)
            .iter()
            .map(|violation| diagnoser.diagnose_violation(&self.tree, violation))
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
    /// Loads the configuration from the built-in defaults, `dm.toml`, `dm.local.toml`, the `DM_*`
    /// variables and the overrides. Each layer wins over those before it.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if there is no project, a file cannot be read, or a layer is not
    /// valid. [`ConfigError::Invalid`] contains all errors that were found.
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
            let exists = layers.push_file(&path, name)?;
            if !exists && file == CONFIG_FILE {
                return Err(ConfigError::NotAProject { directory: root });
            }
        }
        layers.push_variables(variables.into_iter());
        for config_override in &options.overrides {
            layers.push_override(config_override);
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

/// Removes `.` components: `--project-directory .` is the current directory.
fn normalize_path(path: &FsPath) -> PathBuf {
    path.components().collect()
}

fn resolve_layers(layers: ConfigLayers, root: PathBuf) -> Result<LoadedConfig, ConfigError> {
    let MergedLayers {
        tree,
        config,
        errors,
    } = merge_layers(&layers);
    let diagnoser = Diagnoser::new(&layers);
    let mut diagnostics = diagnoser.diagnose_unreadable_layers();
    let mut warnings = Vec::new();
    for error in &errors {
        match diagnoser.diagnose_error(error) {
            (diagnostic, true) => diagnostics.push(diagnostic),
            (warning, false) => warnings.push(warning),
        }
    }
    if let Some(config) = &config {
        let violations = validate::find_violations(config)
            .into_iter()
            .filter(|violation| !errors.iter().any(|error| violation.concerns(&error.path)));
        diagnostics
            .extend(violations.map(|violation| diagnoser.diagnose_violation(&tree, &violation)));
    }
    match config {
        Some(config) if diagnostics.is_empty() => Ok(LoadedConfig {
            config,
            root,
            warnings,
            tree,
            layers,
        }),
        _ => Err(ConfigError::Invalid(ConfigDiagnostics::new(diagnostics))),
    }
}
