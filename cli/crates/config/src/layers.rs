//! The layers of a configuration, lowest first. Each is read into a tree.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use toml::de::DeTable;

use super::config_tree::{ConfigNode, KeyPath};
use super::diagnostic::ConfigError;
use super::source::{ConfigSource, SourceId, SourceKind, ValueSpan};

/// The prefix of all variables of `dm`.
pub(super) const VARIABLE_PREFIX: &str = "DM_";

/// The variables with the prefix that do not set keys, with their descriptions.
pub(super) const NON_CONFIG_VARIABLES: [(&str, &str); 6] = [
    (
        "DM_PROJECT_DIR",
        "the project's directory, like `--project-directory`",
    ),
    ("DM_INSTANCE", "the instance, like `--instance`"),
    (
        OVERRIDES_VARIABLE,
        "values for `--set`, as a JSON array of strings; unlike an argument list, other users of \
         the machine cannot read it",
    ),
    (
        "DM_ASSUME_YES",
        "`1` answers every question with yes, like `--yes`",
    ),
    (
        "DM_TOKEN_PASSWORD",
        "the password with which `dm token`, `dm smoke`, `dm ci`, `dm seed` and `dm bench` sign \
         in users, like `--password`",
    ),
    (
        BENCH_REQUEST_VARIABLE,
        "the request of `dm bench` to the benchmark program, as JSON (set by `dm`)",
    ),
];

/// The variable with the request of `dm bench` to the benchmark program.
pub const BENCH_REQUEST_VARIABLE: &str = "DM_BENCH_REQUEST";

/// The variable with values for `--set`.
pub(crate) const OVERRIDES_VARIABLE: &str = "DM_SET";

/// A value of a key from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOverride {
    flag: String,
    /// The dotted key as it was written. Empty if `--set` has none.
    key: String,
    value: String,
    /// The option and its value as they are on the command line.
    argument: String,
}

impl ConfigOverride {
    /// Parses the value of `--set KEY=VALUE`.
    #[must_use]
    pub fn from_set_option(pair: &str) -> Self {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Self {
            flag: "--set".to_owned(),
            key: key.trim().to_owned(),
            value: value.to_owned(),
            argument: format!("--set {pair}"),
        }
    }

    /// Creates the override of a dedicated flag, e.g. `--wait-timeout 60s` for `timeouts.wait`.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn from_flag(flag: &str, key: &str, value: impl std::fmt::Display) -> Self {
        Self {
            flag: flag.to_owned(),
            key: key.to_owned(),
            value: value.to_string(),
            argument: format!("{flag} {value}"),
        }
    }

    /// Returns the spans of the key and of the value in the argument.
    fn spans(&self) -> (Range<usize>, Range<usize>) {
        let end = self.argument.len();
        let value = end - self.value.len()..end;
        let key = match self.argument.find('=') {
            Some(equals) if self.flag == "--set" => self.flag.len() + 1..equals,
            _ if self.flag == "--set" => self.flag.len() + 1..end,
            _ => 0..self.flag.len(),
        };
        (key, value)
    }
}

/// A layer.
#[derive(Debug, Clone)]
pub(super) struct ConfigLayer {
    /// The source of the layer.
    pub source: SourceId,
    /// The content of the layer.
    pub content: LayerContent,
}

/// The content of a layer.
#[derive(Debug, Clone)]
pub(super) enum LayerContent {
    /// The tree of values.
    Tree(ConfigNode),
    /// The errors of a file that is not valid TOML, with their spans.
    SyntaxErrors(Vec<(String, Option<Range<usize>>)>),
    /// A source that cannot be read for another reason.
    Unreadable {
        /// The error.
        message: String,
        /// The valid alternative.
        help: String,
        /// The span of the error.
        span: Range<usize>,
    },
}

/// The layers with their sources.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigLayers {
    /// The sources of the values.
    pub sources: Vec<ConfigSource>,
    /// The layers, lowest first.
    pub layers: Vec<ConfigLayer>,
}

impl ConfigLayers {
    fn push(&mut self, source: ConfigSource, content: impl FnOnce(SourceId) -> LayerContent) {
        let id = self.sources.len();
        self.sources.push(source);
        self.layers.push(ConfigLayer {
            source: id,
            content: content(id),
        });
    }

    /// Adds a layer from a TOML text.
    pub(crate) fn push_toml(&mut self, kind: SourceKind, name: String, text: String) {
        let text: Arc<str> = text.into();
        let source = ConfigSource {
            kind,
            name,
            text: Arc::clone(&text),
        };
        self.push(source, |id| {
            let (document, errors) = DeTable::parse_recoverable(&text);
            if errors.is_empty() {
                return LayerContent::Tree(ConfigNode::from_toml(id, document));
            }
            let errors = errors
                .iter()
                .map(|error| (error.message().to_owned(), error.span()));
            LayerContent::SyntaxErrors(errors.collect())
        });
    }

    /// Adds the file at `path` with the display name `name`. Returns whether the file exists.
    pub(crate) fn push_file(&mut self, path: &FsPath, name: String) -> Result<bool, ConfigError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => {
                return Err(ConfigError::Unreadable {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => self.push_toml(SourceKind::File, name, text),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let source = ConfigSource {
                    kind: SourceKind::File,
                    name,
                    text: String::from_utf8_lossy(error.as_bytes()).into(),
                };
                self.push(source, |_| LayerContent::Unreadable {
                    message: "the file is not UTF-8".to_owned(),
                    help: "save it as UTF-8, the encoding of TOML".to_owned(),
                    span: offset..offset + '\u{fffd}'.len_utf8(),
                });
            }
        }
        Ok(true)
    }

    /// Adds each variable with the prefix `DM_` that is not one of [`NON_CONFIG_VARIABLES`], in
    /// the order of their names.
    pub(crate) fn push_variables(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) {
        let config_variables: BTreeMap<String, OsString> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
            .filter(|(name, _)| NON_CONFIG_VARIABLES.iter().all(|(other, _)| name != other))
            .collect();
        for (name, value) in config_variables {
            self.push_variable(&name, value);
        }
    }

    fn push_variable(&mut self, name: &str, value: OsString) {
        let is_utf8 = value.to_str().is_some();
        let value = value.to_string_lossy().into_owned();
        let text = format!("{name}={value}");
        let value_span = name.len() + 1..text.len();
        let source = ConfigSource {
            kind: SourceKind::Variable,
            name: "environment".to_owned(),
            text: text.into(),
        };
        self.push(source, |id| {
            if !is_utf8 {
                return LayerContent::Unreadable {
                    message: format!("the value of {name} is not UTF-8"),
                    help: "set it to a text in UTF-8".to_owned(),
                    span: value_span,
                };
            }
            let span = ValueSpan {
                source: id,
                key: 0..name.len(),
                value: value_span,
            };
            LayerContent::Tree(ConfigNode::from_untyped(
                &parse_variable_name(name),
                value,
                &span,
            ))
        });
    }

    /// Adds a value from the command line.
    pub(crate) fn push_override(&mut self, config_override: &ConfigOverride) {
        let (key, value) = config_override.spans();
        let source = ConfigSource {
            kind: SourceKind::Flag,
            name: "command line".to_owned(),
            text: config_override.argument.as_str().into(),
        };
        self.push(source, |id| {
            if config_override.flag == "--set" && !config_override.argument.contains('=') {
                return LayerContent::Unreadable {
                    message: "`--set` requires a key and a value".to_owned(),
                    help: "for example --set postgres.port=5433".to_owned(),
                    span: key,
                };
            }
            let path: KeyPath = config_override.key.split('.').map(str::to_owned).collect();
            let span = ValueSpan {
                source: id,
                key,
                value,
            };
            LayerContent::Tree(ConfigNode::from_untyped(
                &path,
                config_override.value.clone(),
                &span,
            ))
        });
    }
}

/// Returns the path of a variable: `DM_POSTGRES__PORT` is `postgres.port`. The names of a
/// service's own variables keep their case: `DM_SERVICES__ORDER__ENVIRONMENT__RUST_LOG` is
/// `services.order.environment.RUST_LOG`.
fn parse_variable_name(name: &str) -> KeyPath {
    let name = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name);
    let mut path = KeyPath::new();
    for part in name.split("__") {
        let is_variable = path.len() == 3 && path[0] == "services" && path[2] == "environment";
        path.push(if is_variable {
            part.to_owned()
        } else {
            part.to_lowercase()
        });
    }
    path
}

/// Returns the variable of a path: `postgres.port` is `DM_POSTGRES__PORT`.
pub(super) fn variable_name<S: AsRef<str>>(path: &[S]) -> String {
    let keys: Vec<String> = path.iter().map(|key| key.as_ref().to_uppercase()).collect();
    format!("{VARIABLE_PREFIX}{}", keys.join("__"))
}
