//! From what is wrong to what a person is told: the sentence, the place with
//! its caret, and the nearest right name, all in the spelling of the layer.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use dm_core::error_code::ErrorCode;
use dm_core::suggest::{closest_match, join_with_or};
use miette::NamedSource;

use super::config_tree::{ConfigNode, KeyPath, format_key_path};
use super::de::{DeserializeError, DeserializeErrorKind};
use super::diagnostic::ConfigDiagnostic;
use super::json_schema;
use super::layers::{ConfigLayers, LayerContent, variable_name};
use super::mask_source::mask_source;
use super::source::{SourceId, SourceKind, ValueSpan};
use super::validate::Violation;

/// The most keys that a help text lists.
const MAX_LISTED_KEYS: usize = 16;

/// Makes problems of faults.
pub(super) struct Diagnoser<'a> {
    layers: &'a ConfigLayers,
    /// Every key there is; only made where something is wrong.
    keys: OnceCell<Vec<json_schema::ConfigKey>>,
}

/// What a key is called in a help text, and in full.
struct Suggestion {
    display_name: String,
    path: KeyPath,
}

impl Suggestion {
    /// The path of the table that the key is in.
    fn table(&self) -> &[String] {
        self.path.split_last().map_or(&[], |(_, table)| table)
    }
}

impl<'a> Diagnoser<'a> {
    /// A reporter of what is wrong in `layers`.
    pub(crate) fn new(layers: &'a ConfigLayers) -> Self {
        Self {
            layers,
            keys: OnceCell::new(),
        }
    }

    /// The problems of the layers that can't be read.
    pub(crate) fn diagnose_unreadable_layers(&self) -> Vec<ConfigDiagnostic> {
        let mut problems = Vec::new();
        for layer in &self.layers.layers {
            let source = self.masked_source(layer.source);
            match &layer.content {
                LayerContent::Tree(_) => {}
                LayerContent::SyntaxErrors(errors) => {
                    problems.extend(errors.iter().map(|(message, span)| ConfigDiagnostic {
                        code: ErrorCode::ConfigSyntax,
                        message: format!("invalid TOML: {message}"),
                        help: None,
                        key: None,
                        source: Some(source.clone()),
                        labels: span.clone().map(|span| (span, None)).into_iter().collect(),
                        position: Some((layer.source, span.as_ref().map_or(0, |span| span.start))),
                    }));
                }
                LayerContent::Unreadable {
                    message,
                    help,
                    span: at,
                } => problems.push(ConfigDiagnostic {
                    code: ErrorCode::ConfigUnreadable,
                    message: message.clone(),
                    help: Some(help.clone()),
                    key: None,
                    source: Some(source),
                    labels: vec![(at.clone(), None)],
                    position: Some((layer.source, at.start)),
                }),
            }
        }
        problems
    }

    /// The problem that `fault` is, and whether it is an error; else it is worth
    /// a warning only.
    pub(crate) fn diagnose_error(&self, fault: &DeserializeError) -> (ConfigDiagnostic, bool) {
        let DeserializeError {
            kind,
            path,
            span: place,
        } = fault;
        let caret = match kind {
            DeserializeErrorKind::InvalidKey { .. } => &place.key,
            _ => &place.value,
        };
        let name = format_key_path(path);
        let (code, message, label, help) = match kind {
            DeserializeErrorKind::UnknownKey => return self.diagnose_unknown_key(path, place),
            DeserializeErrorKind::UnknownVariant {
                found,
                choices: known,
            } => (
                ErrorCode::ConfigInvalidValue,
                format!("`{found}` is not a choice for {name}"),
                closest_match(found, *known).map(|choice| format!("did you mean `{choice}`?")),
                Some(format!("write {}", join_with_or(known))),
            ),
            DeserializeErrorKind::Missing { key } => {
                let mut full = path.clone();
                full.push((*key).to_owned());
                let message = format!("{} is missing", format_key_path(&full));
                let help = format!(
                    "{name} requires this key: set {}",
                    self.spell_key(place.source, &full)
                );
                let key_only = vec![(self.table_key_span(path, place), None)];
                let mut problem = self.new_diagnostic(
                    Some(place.source),
                    ErrorCode::ConfigMissingKey,
                    message,
                    key_only,
                );
                problem.help = Some(help);
                problem.key = Some(format_key_path(&full));
                return (problem, true);
            }
            DeserializeErrorKind::WrongType {
                expected,
                found,
                suggestion: instead,
            } => {
                // The value of a secret isn't repeated.
                let secret = self.secret_paths().any(|key| key == path);
                let instead = instead.as_ref().filter(|_| !secret);
                let quotes = secret && expected == "a string";
                let is_file = self.source_kind(place) == Some(SourceKind::File);
                (
                    ErrorCode::ConfigWrongType,
                    format!("{name} must be {expected}"),
                    Some(format!("this is {found}")),
                    match instead {
                        Some(instead) => Some(format!("write {instead}")),
                        None if quotes => Some("put it in quotes".to_owned()),
                        None if expected == "a table" && is_file => {
                            Some(format!("write [{name}] and its keys on the lines below"))
                        }
                        None if expected == "a table" => {
                            Some("set one of its keys instead".to_owned())
                        }
                        None => None,
                    },
                )
            }
            DeserializeErrorKind::Invalid { reason, help }
            | DeserializeErrorKind::InvalidKey { reason, help } => (
                ErrorCode::ConfigInvalidValue,
                format!("invalid {name}: {reason}"),
                None,
                help.clone(),
            ),
        };
        let labels = vec![(caret.clone(), label)];
        let mut problem = self.new_diagnostic(Some(place.source), code, message, labels);
        problem.help = help;
        problem.key = Some(name);
        (problem, true)
    }

    fn diagnose_unknown_key(&self, path: &KeyPath, place: &ValueSpan) -> (ConfigDiagnostic, bool) {
        let kind = self.source_kind(place);
        let table = path.split_last().map_or(&[][..], |(_, table)| table);
        let known = self.child_keys(table);
        let suggestion = self.suggest_key(path, &known, kind);
        let key = path.last().map_or("", String::as_str);
        let written = self.key_as_written(place);
        let (message, certain) = match kind {
            Some(SourceKind::Variable) if written.contains("__") || suggestion.is_some() => {
                (format!("unknown variable `{written}`"), true)
            }
            Some(SourceKind::Variable) => {
                (format!("unknown variable `{written}` is ignored"), false)
            }
            Some(SourceKind::Flag) => (format!("unknown key `{}`", format_key_path(path)), true),
            _ if table.is_empty() => (format!("unknown section or key `{key}`"), true),
            _ => (
                format!("unknown key `{key}` in [{}]", format_key_path(table)),
                true,
            ),
        };
        let help = match (&suggestion, kind) {
            (None, Some(SourceKind::Variable)) => {
                Some("the variables of dm are DM_ and a key, with `__` for each dot".to_owned())
            }
            (Some(_), Some(SourceKind::Variable)) if !written.contains("__") => {
                Some("two underscores stand for each dot of a key".to_owned())
            }
            (Some(suggestion), _) if suggestion.table() != table => Some(format!(
                "it is a key of [{}]",
                format_key_path(suggestion.table())
            )),
            _ if known.len() <= MAX_LISTED_KEYS => {
                let place = if table.is_empty() {
                    "the sections".to_owned()
                } else {
                    format!("the keys of [{}]", format_key_path(table))
                };
                Some(format!("{place} are {}", known.join(", ")))
            }
            _ => None,
        };
        let label =
            suggestion.map(|suggestion| format!("did you mean `{}`?", suggestion.display_name));
        let mut problem = self.new_diagnostic(
            Some(place.source),
            ErrorCode::ConfigUnknownKey,
            message,
            vec![(place.key.clone(), label)],
        );
        problem.help = help;
        problem.key = Some(format_key_path(path));
        (problem, certain)
    }

    /// The key that was meant by the unknown one at `path`: in a file one of the
    /// same table, elsewhere one of all; and then one of the same name in
    /// another table.
    fn suggest_key(
        &self,
        path: &KeyPath,
        known: &[&str],
        kind: Option<SourceKind>,
    ) -> Option<Suggestion> {
        let key = path.last()?;
        let all = self.all_keys();
        let by_full_name = |spell: &dyn Fn(&KeyPath) -> String| {
            let names: Vec<String> = all.iter().map(|key| spell(&key.path)).collect();
            let written = spell(path);
            let found = closest_match(&written, &names)?;
            let index = names.iter().position(|name| name == found)?;
            Some(Suggestion {
                display_name: found.to_owned(),
                path: all.get(index)?.path.clone(),
            })
        };
        match kind {
            Some(SourceKind::Variable) => return by_full_name(&|path| variable_name(path)),
            Some(SourceKind::Flag) => {
                if let Some(found) = by_full_name(&|path| format_key_path(path)) {
                    return Some(found);
                }
            }
            _ => {}
        }
        if let Some(found) = closest_match(key, known) {
            let mut full = path.clone();
            full.pop();
            full.push(found.to_owned());
            let short = if kind == Some(SourceKind::Flag) {
                format_key_path(&full)
            } else {
                found.to_owned()
            };
            return Some(Suggestion {
                display_name: short,
                path: full,
            });
        }
        let all = all.iter().map(|key| &key.path);
        let mut same_name = all.filter(|other| other.last() == Some(key));
        match (same_name.next(), same_name.next()) {
            (Some(only), None) => Some(Suggestion {
                display_name: format_key_path(only),
                path: only.clone(),
            }),
            _ => None,
        }
    }

    /// The problem of two keys, or of one, that don't go with the rest. The key
    /// of the highest layer, the last one in it, is the one to change.
    pub(crate) fn diagnose_violation(
        &self,
        tree: &ConfigNode,
        conflict: &Violation,
    ) -> ConfigDiagnostic {
        let mut placed: Vec<(&KeyPath, &ValueSpan)> = conflict
            .keys
            .iter()
            .filter_map(|path| Some((path, &tree.get(path)?.span)))
            .collect();
        placed.sort_by_key(|(_, place)| (place.source, place.value.start));
        let Some((blamed, others)) = placed.split_last() else {
            return self.new_diagnostic(None, conflict.code, conflict.message.clone(), Vec::new());
        };
        let (path, place) = *blamed;
        let mut labels = vec![(place.value.clone(), None)];
        let mut elsewhere = Vec::new();
        for (other, at) in others {
            if at.source == place.source {
                labels.push((
                    at.value.clone(),
                    Some(format!("{} is here", format_key_path(other))),
                ));
            } else if let Some(source) = self.layers.sources.get(at.source) {
                let origin = match source.kind {
                    SourceKind::Defaults => "a built-in default".to_owned(),
                    _ => format!("set by {}", source.origin_at(at.key.start)),
                };
                elsewhere.push(format!("{} is {origin}", format_key_path(other)));
            }
        }
        let mut problem = self.new_diagnostic(
            Some(place.source),
            conflict.code,
            conflict.message.clone(),
            labels,
        );
        elsewhere.insert(0, conflict.help.clone());
        problem.help = Some(elsewhere.join("; "));
        problem.key = Some(format_key_path(path));
        problem
    }

    fn new_diagnostic(
        &self,
        source: Option<SourceId>,
        code: ErrorCode,
        message: String,
        labels: Vec<(Range<usize>, Option<String>)>,
    ) -> ConfigDiagnostic {
        let start = labels.first().map_or(0, |(span, _)| span.start);
        ConfigDiagnostic {
            code,
            message,
            position: source.map(|id| (id, start)),
            help: None,
            key: None,
            source: source.map(|id| self.masked_source(id)),
            labels,
        }
    }

    /// The text of a source as it may be shown.
    fn masked_source(&self, id: SourceId) -> NamedSource<Arc<str>> {
        let Some(source) = self.layers.sources.get(id) else {
            return NamedSource::new("", "".into());
        };
        let tree = self
            .layers
            .layers
            .iter()
            .find_map(|layer| match &layer.content {
                LayerContent::Tree(tree) if layer.source == id => Some(tree),
                _ => None,
            });
        let secrets: Vec<&KeyPath> = self.secret_paths().collect();
        let text = mask_source(source, tree, &secrets);
        NamedSource::new(&source.name, text.into())
    }

    fn source_kind(&self, place: &ValueSpan) -> Option<SourceKind> {
        Some(self.layers.sources.get(place.source)?.kind)
    }

    /// A key in the spelling of a source.
    fn spell_key(&self, source: SourceId, path: &KeyPath) -> String {
        match self.layers.sources.get(source).map(|source| source.kind) {
            Some(SourceKind::Variable) => variable_name(path),
            _ => format_key_path(path),
        }
    }

    /// The key as it is written at `place`.
    fn key_as_written(&self, place: &ValueSpan) -> &str {
        self.layers
            .sources
            .get(place.source)
            .and_then(|source| source.text.get(place.key.clone()))
            .unwrap_or("")
    }

    /// Where a table is named, for a problem of the table as a whole.
    fn table_key_span(&self, path: &KeyPath, place: &ValueSpan) -> Range<usize> {
        let in_layer = self
            .layers
            .layers
            .iter()
            .find_map(|layer| match &layer.content {
                LayerContent::Tree(tree) if layer.source == place.source => tree.get(path),
                _ => None,
            });
        in_layer.map_or_else(|| place.key.clone(), |node| node.span.key.clone())
    }

    fn all_keys(&self) -> &[json_schema::ConfigKey] {
        self.keys.get_or_init(json_schema::config_keys)
    }

    /// The keys that hold secrets.
    fn secret_paths(&self) -> impl Iterator<Item = &KeyPath> {
        let secret = self.all_keys().iter().filter(|key| key.is_secret());
        secret.map(|key| &key.path)
    }

    /// The keys and tables in a table, in the order of the types.
    fn child_keys(&self, table: &[String]) -> Vec<&str> {
        let below = self.all_keys().iter().filter_map(|key| {
            let rest = key.path.strip_prefix(table)?;
            rest.first().map(String::as_str)
        });
        let mut keys: Vec<&str> = below.collect();
        keys.dedup();
        keys
    }
}
