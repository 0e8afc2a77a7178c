//! Loading: find the project, read the layers, check each by itself and all of
//! them together.

use std::ffi::OsString;
use std::path::{Path as FsPath, PathBuf};

use super::check;
use super::defaults::DEFAULTS;
use super::diagnose::Reporter;
use super::layers::{Layers, Override};
use super::model::Config;
use super::problem::{ConfigError, Problem, Problems};
use super::sift::{Sifted, sift};
use super::source::{Origin, SourceKind};
use super::tree::Node;

/// The file that makes a directory a project.
pub const FILE: &str = "dm.toml";
/// The file beside it that overrides it on one machine; git ignores it.
pub const LOCAL_FILE: &str = "dm.local.toml";
/// The variable that names the project's directory.
pub const PROJECT_DIR: &str = "DM_PROJECT_DIR";

/// What to load, other than the environment.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The project's directory; without it `DM_PROJECT_DIR`, and then the
    /// nearest directory from `current_dir` upwards that holds a `dm.toml`.
    pub project_dir: Option<PathBuf>,
    /// The current directory.
    pub current_dir: PathBuf,
    /// What flags set; later ones win.
    pub overrides: Vec<Override>,
}

/// A configuration and where it comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// The project's directory, to which its paths are relative.
    pub root: PathBuf,
    /// What is worth a warning, e.g. a `DM_` variable that `dm` doesn't know
    /// and that resembles none of its own.
    pub warnings: Vec<Problem>,
    pub(super) tree: Node,
    layers: Layers,
}

impl Loaded {
    /// Where the effective value of `key` comes from, e.g. `postgres.port`.
    /// None where it has no value.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn origin(&self, key: &str) -> Option<Origin> {
        let path: Vec<&str> = key.split('.').collect();
        self.tree.get(&path).and_then(|node| self.origin_of(node))
    }

    /// Checks that the files and directories which the configuration names are
    /// there. Loading doesn't, as most commands never open them.
    ///
    /// # Errors
    ///
    /// Where some are not: all of them.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let reporter = Reporter::new(&self.layers);
        let missing: Vec<Problem> = check::missing_files(&self.config, &self.root)
            .iter()
            .map(|missing| reporter.conflict(&self.tree, missing))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid(Problems::new(missing)))
    }

    pub(super) fn origin_of(&self, node: &Node) -> Option<Origin> {
        let source = self.layers.sources.get(node.place.source)?;
        Some(source.origin(node.place.key.start))
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
    ) -> Result<Loaded, ConfigError> {
        let variables: Vec<_> = variables.into_iter().collect();
        let root = find_root(options, &variables)?;
        let mut layers = Layers::default();
        layers.push_toml(
            SourceKind::Defaults,
            "built-in defaults".to_owned(),
            DEFAULTS.to_owned(),
        );
        for file in [FILE, LOCAL_FILE] {
            let path = root.join(file);
            let name = if root == options.current_dir {
                file.to_owned()
            } else {
                path.display().to_string()
            };
            let found = layers.push_file(&path, name)?;
            if !found && file == FILE {
                return Err(ConfigError::NotAProject { directory: root });
            }
        }
        layers.push_variables(variables.into_iter());
        for given in &options.overrides {
            layers.push_override(given);
        }
        resolve(layers, root)
    }
}

fn find_root(
    options: &LoadOptions,
    variables: &[(OsString, OsString)],
) -> Result<PathBuf, ConfigError> {
    let variable = || {
        variables
            .iter()
            .find(|(name, value)| name == PROJECT_DIR && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    if let Some(directory) = options.project_dir.clone().or_else(variable) {
        return Ok(normal(&options.current_dir.join(directory)));
    }
    options
        .current_dir
        .ancestors()
        .find(|directory| directory.join(FILE).is_file())
        .map(FsPath::to_owned)
        .ok_or_else(|| ConfigError::NoProject {
            from: options.current_dir.clone(),
        })
}

/// The path without `.` parts: `--project-directory .` is the current directory.
fn normal(path: &FsPath) -> PathBuf {
    path.components().collect()
}

fn resolve(layers: Layers, root: PathBuf) -> Result<Loaded, ConfigError> {
    let Sifted {
        tree,
        config,
        faults,
    } = sift(&layers);
    let reporter = Reporter::new(&layers);
    let mut problems = reporter.unreadable();
    let mut warnings = Vec::new();
    for fault in &faults {
        match reporter.problem(fault) {
            (problem, true) => problems.push(problem),
            (warning, false) => warnings.push(warning),
        }
    }
    if let Some(config) = &config {
        let conflicts = check::conflicts(config)
            .into_iter()
            .filter(|conflict| !faults.iter().any(|fault| conflict.involves(&fault.path)));
        problems.extend(conflicts.map(|conflict| reporter.conflict(&tree, &conflict)));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            root,
            warnings,
            tree,
            layers,
        }),
        _ => Err(ConfigError::Invalid(Problems::new(problems))),
    }
}
