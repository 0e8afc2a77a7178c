//! The layers of a configuration, lowest first, each read into a tree.

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

/// What every variable of `dm` begins with.
pub(super) const VARIABLE_PREFIX: &str = "DM_";

/// Variables that begin like a key's and are none: the name, and what it does.
pub const NON_CONFIG_VARIABLES: [(&str, &str); 6] = [
    (
        "DM_PROJECT_DIR",
        "the project's directory, like `--project-directory`",
    ),
    ("DM_INSTANCE", "the instance, like `--instance`"),
    (
        OVERRIDES_VARIABLE,
        "what `--set` would be given, as a JSON array of texts: an argument list is seen by \
         every user of the machine",
    ),
    (
        "DM_ASSUME_YES",
        "`1` answers every question with yes, like `--yes`",
    ),
    (
        "DM_TOKEN_PASSWORD",
        "the password of the users whom `dm token`, `dm smoke`, `dm ci`, `dm seed` and `dm bench` sign in, like `--password`",
    ),
    (
        BENCH_REQUEST_VARIABLE,
        "what `dm bench` asks of the program that measures, as JSON",
    ),
];

/// The variable with what `dm bench` asks of the program that measures.
pub const BENCH_REQUEST_VARIABLE: &str = "DM_BENCH_REQUEST";

/// The variable with what `--set` would be given.
pub(crate) const OVERRIDES_VARIABLE: &str = "DM_SET";

/// A value that the command line gives to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOverride {
    flag: String,
    /// The dotted key, as it was written; none where `--set` came without one.
    key: String,
    value: String,
    /// The two as they stand on the command line.
    argument: String,
}

impl ConfigOverride {
    /// What `--set KEY=VALUE` means.
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

    /// What a flag of its own means, e.g. `--wait-timeout 60s` for
    /// `timeouts.wait`.
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

    /// The bytes of the key and of the value in what is written.
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

/// One layer.
#[derive(Debug, Clone)]
pub(super) struct ConfigLayer {
    /// Its source.
    pub source: SourceId,
    /// What it holds.
    pub content: LayerContent,
}

/// What a layer holds.
#[derive(Debug, Clone)]
pub(super) enum LayerContent {
    /// Values.
    Tree(ConfigNode),
    /// A file that isn't TOML: what is wrong with it, and where.
    SyntaxErrors(Vec<(String, Option<Range<usize>>)>),
    /// Something else that can't be read at all, and why.
    Unreadable {
        /// What is wrong.
        message: String,
        /// What to write instead.
        help: String,
        /// The bytes that are wrong.
        span: Range<usize>,
    },
}

/// All layers but the defaults, with their sources.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigLayers {
    /// Where the values come from.
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

    /// Adds a TOML text.
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

    /// Adds the file at `path`, shown as `name`. False where there is none.
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
                let at = error.utf8_error().valid_up_to();
                let source = ConfigSource {
                    kind: SourceKind::File,
                    name,
                    text: String::from_utf8_lossy(error.as_bytes()).into(),
                };
                self.push(source, |_| LayerContent::Unreadable {
                    message: "the file is not UTF-8".to_owned(),
                    help: "save it as UTF-8, the encoding of TOML".to_owned(),
                    span: at..at + '\u{fffd}'.len_utf8(),
                });
            }
        }
        Ok(true)
    }

    /// Adds each variable that begins with `DM_` and isn't one of
    /// [`OTHER_VARIABLES`], in the order of their names.
    pub(crate) fn push_variables(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) {
        let ours: BTreeMap<String, OsString> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
            .filter(|(name, _)| NON_CONFIG_VARIABLES.iter().all(|(other, _)| name != other))
            .collect();
        for (name, value) in ours {
            self.push_variable(&name, value);
        }
    }

    fn push_variable(&mut self, name: &str, value: OsString) {
        let utf8 = value.to_str().is_some();
        let value = value.to_string_lossy().into_owned();
        let text = format!("{name}={value}");
        let at = name.len() + 1..text.len();
        let source = ConfigSource {
            kind: SourceKind::Variable,
            name: "environment".to_owned(),
            text: text.into(),
        };
        self.push(source, |id| {
            if !utf8 {
                return LayerContent::Unreadable {
                    message: format!("the value of {name} is not UTF-8"),
                    help: "set it to a text in UTF-8".to_owned(),
                    span: at,
                };
            }
            let place = ValueSpan {
                source: id,
                key: 0..name.len(),
                value: at,
            };
            LayerContent::Tree(ConfigNode::from_untyped(
                &parse_variable_name(name),
                value,
                &place,
            ))
        });
    }

    /// Adds what the command line gives, in its order.
    pub(crate) fn push_override(&mut self, given: &ConfigOverride) {
        let (key, value) = given.spans();
        let source = ConfigSource {
            kind: SourceKind::Flag,
            name: "command line".to_owned(),
            text: given.argument.as_str().into(),
        };
        self.push(source, |id| {
            if given.flag == "--set" && !given.argument.contains('=') {
                return LayerContent::Unreadable {
                    message: "`--set` needs a key and a value".to_owned(),
                    help: "for example --set postgres.port=5433".to_owned(),
                    span: key,
                };
            }
            let path: KeyPath = given.key.split('.').map(str::to_owned).collect();
            let place = ValueSpan {
                source: id,
                key,
                value,
            };
            LayerContent::Tree(ConfigNode::from_untyped(&path, given.value.clone(), &place))
        });
    }
}

/// The path of a variable: `DM_POSTGRES__PORT` is `postgres.port`. Only the name of a variable
/// of a service stays as it is written: `DM_SERVICES__ORDER__ENVIRONMENT__RUST_LOG` is
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

/// The variable of a path: `postgres.port` is `DM_POSTGRES__PORT`.
pub(super) fn variable_name<S: AsRef<str>>(path: &[S]) -> String {
    let keys: Vec<String> = path.iter().map(|key| key.as_ref().to_uppercase()).collect();
    format!("{VARIABLE_PREFIX}{}", keys.join("__"))
}
