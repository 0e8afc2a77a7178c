//! Conversion of errors to diagnostics: the message, the span with its caret, and a suggestion,
//! all in the spelling of the layer.

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

/// The maximum number of keys that a help text lists.
const MAX_LISTED_KEYS: usize = 16;

/// Converts errors to diagnostics.
pub(super) struct Diagnoser<'a> {
    layers: &'a ConfigLayers,
    /// All keys; generated only if there is an error.
    keys: OnceCell<Vec<json_schema::ConfigKey>>,
}

/// A suggested key: its name in a help text and its path.
struct Suggestion {
    display_name: String,
    path: KeyPath,
}

impl Suggestion {
    /// Returns the path of the key's table.
    fn table(&self) -> &[String] {
        self.path.split_last().map_or(&[], |(_, table)| table)
    }
}

impl<'a> Diagnoser<'a> {
    /// Creates a diagnoser for errors in `layers`.
    pub(crate) fn new(layers: &'a ConfigLayers) -> Self {
        Self {
            layers,
            keys: OnceCell::new(),
        }
    }

    /// Returns the diagnostics of the layers that cannot be read.
    pub(crate) fn diagnose_unreadable_layers(&self) -> Vec<ConfigDiagnostic> {
        let mut diagnostics = Vec::new();
        for layer in &self.layers.layers {
            let source = self.masked_source(layer.source);
            match &layer.content {
                LayerContent::Tree(_) => {}
                LayerContent::SyntaxErrors(errors) => {
                    diagnostics.extend(errors.iter().map(|(message, span)| ConfigDiagnostic {
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
                    span,
                } => diagnostics.push(ConfigDiagnostic {
                    code: ErrorCode::ConfigUnreadable,
                    message: message.clone(),
                    help: Some(help.clone()),
                    key: None,
                    source: Some(source),
                    labels: vec![(span.clone(), None)],
                    position: Some((layer.source, span.start)),
                }),
            }
        }
        diagnostics
    }

    /// Returns the diagnostic of an error, and whether it is an error or only a warning.
    pub(crate) fn diagnose_error(&self, error: &DeserializeError) -> (ConfigDiagnostic, bool) {
        let DeserializeError { kind, path, span } = error;
        let caret = match kind {
            DeserializeErrorKind::InvalidKey { .. } => &span.key,
            _ => &span.value,
        };
        let name = format_key_path(path);
        let (code, message, label, help) = match kind {
            DeserializeErrorKind::UnknownKey => return self.diagnose_unknown_key(path, span),
            DeserializeErrorKind::UnknownVariant { found, choices } => (
                ErrorCode::ConfigInvalidValue,
                format!("`{found}` is not a choice for {name}"),
                closest_match(found, *choices).map(|choice| format!("did you mean `{choice}`?")),
                Some(format!("write {}", join_with_or(choices))),
            ),
            DeserializeErrorKind::Missing { key } => {
                let mut missing_path = path.clone();
                missing_path.push((*key).to_owned());
                let message = format!("{} is missing", format_key_path(&missing_path));
                let help = format!(
                    "{name} requires this key: set {}",
                    self.spell_key(span.source, &missing_path)
                );
                let labels = vec![(self.table_key_span(path, span), None)];
                let mut diagnostic = self.new_diagnostic(
                    Some(span.source),
                    ErrorCode::ConfigMissingKey,
                    message,
                    labels,
                );
                diagnostic.help = Some(help);
                diagnostic.key = Some(format_key_path(&missing_path));
                return (diagnostic, true);
            }
            DeserializeErrorKind::WrongType {
                expected,
                found,
                suggestion,
            } => {
                // The value of a secret is not repeated.
                let is_secret = self.secret_paths().any(|key| key == path);
                let suggestion = suggestion.as_ref().filter(|_| !is_secret);
                let needs_quotes = is_secret && expected == "a string";
                let is_file = self.source_kind(span) == Some(SourceKind::File);
                (
                    ErrorCode::ConfigWrongType,
                    format!("{name} must be {expected}"),
                    Some(format!("this is {found}")),
                    match suggestion {
                        Some(suggestion) => Some(format!("write {suggestion}")),
                        None if needs_quotes => Some("put it in quotes".to_owned()),
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
        let mut diagnostic = self.new_diagnostic(Some(span.source), code, message, labels);
        diagnostic.help = help;
        diagnostic.key = Some(name);
        (diagnostic, true)
    }

    fn diagnose_unknown_key(&self, path: &KeyPath, span: &ValueSpan) -> (ConfigDiagnostic, bool) {
        let kind = self.source_kind(span);
        let table = path.split_last().map_or(&[][..], |(_, table)| table);
        let known = self.child_keys(table);
        let suggestion = self.suggest_key(path, &known, kind);
        let key = path.last().map_or("", String::as_str);
        let written = self.key_as_written(span);
        let (message, is_error) = match kind {
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
                let scope = if table.is_empty() {
                    "the sections".to_owned()
                } else {
                    format!("the keys of [{}]", format_key_path(table))
                };
                Some(format!("{scope} are {}", known.join(", ")))
            }
            _ => None,
        };
        let label =
            suggestion.map(|suggestion| format!("did you mean `{}`?", suggestion.display_name));
        let mut diagnostic = self.new_diagnostic(
            Some(span.source),
            ErrorCode::ConfigUnknownKey,
            message,
            vec![(span.key.clone(), label)],
        );
        diagnostic.help = help;
        diagnostic.key = Some(format_key_path(path));
        (diagnostic, is_error)
    }

    /// Returns the most similar key to the unknown one at `path`: in a file a key of the same
    /// table, in a variable or a flag any key; otherwise a key of the same name in another table.
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
            let closest = closest_match(&written, &names)?;
            let index = names.iter().position(|name| name == closest)?;
            Some(Suggestion {
                display_name: closest.to_owned(),
                path: all.get(index)?.path.clone(),
            })
        };
        match kind {
            Some(SourceKind::Variable) => return by_full_name(&|path| variable_name(path)),
            Some(SourceKind::Flag) => {
                if let Some(suggestion) = by_full_name(&|path| format_key_path(path)) {
                    return Some(suggestion);
                }
            }
            _ => {}
        }
        if let Some(closest) = closest_match(key, known) {
            let mut closest_path = path.clone();
            closest_path.pop();
            closest_path.push(closest.to_owned());
            let display_name = if kind == Some(SourceKind::Flag) {
                format_key_path(&closest_path)
            } else {
                closest.to_owned()
            };
            return Some(Suggestion {
                display_name,
                path: closest_path,
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

    /// Returns the diagnostic of a violation. It points to the key of the highest layer, and to
    /// the last one in that layer.
    pub(crate) fn diagnose_violation(
        &self,
        tree: &ConfigNode,
        violation: &Violation,
    ) -> ConfigDiagnostic {
        let mut located_keys: Vec<(&KeyPath, &ValueSpan)> = violation
            .keys
            .iter()
            .filter_map(|path| Some((path, &tree.get(path)?.span)))
            .collect();
        located_keys.sort_by_key(|(_, span)| (span.source, span.value.start));
        let Some((primary, others)) = located_keys.split_last() else {
            return self.new_diagnostic(
                None,
                violation.code,
                violation.message.clone(),
                Vec::new(),
            );
        };
        let (path, span) = *primary;
        let mut labels = vec![(span.value.clone(), None)];
        let mut help = vec![violation.help.clone()];
        for (other_path, other_span) in others {
            if other_span.source == span.source {
                labels.push((
                    other_span.value.clone(),
                    Some(format!("{} is here", format_key_path(other_path))),
                ));
            } else if let Some(source) = self.layers.sources.get(other_span.source) {
                let origin = match source.kind {
                    SourceKind::Defaults => "a built-in default".to_owned(),
                    _ => format!("set by {}", source.origin_at(other_span.key.start)),
                };
                help.push(format!("{} is {origin}", format_key_path(other_path)));
            }
        }
        let mut diagnostic = self.new_diagnostic(
            Some(span.source),
            violation.code,
            violation.message.clone(),
            labels,
        );
        diagnostic.help = Some(help.join("; "));
        diagnostic.key = Some(format_key_path(path));
        diagnostic
    }

    /// Creates a diagnostic whose position is that of the first label.
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

    /// Returns the text of a source with its secrets masked.
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

    fn source_kind(&self, span: &ValueSpan) -> Option<SourceKind> {
        Some(self.layers.sources.get(span.source)?.kind)
    }

    /// Returns a key in the spelling of a source.
    fn spell_key(&self, source: SourceId, path: &KeyPath) -> String {
        match self.layers.sources.get(source).map(|source| source.kind) {
            Some(SourceKind::Variable) => variable_name(path),
            _ => format_key_path(path),
        }
    }

    /// Returns the key as it is written at `span`.
    fn key_as_written(&self, span: &ValueSpan) -> &str {
        self.layers
            .sources
            .get(span.source)
            .and_then(|source| source.text.get(span.key.clone()))
            .unwrap_or("")
    }

    /// Returns the span of a table's key, for an error of the complete table.
    fn table_key_span(&self, path: &KeyPath, span: &ValueSpan) -> Range<usize> {
        let in_layer = self
            .layers
            .layers
            .iter()
            .find_map(|layer| match &layer.content {
                LayerContent::Tree(tree) if layer.source == span.source => tree.get(path),
                _ => None,
            });
        in_layer.map_or_else(|| span.key.clone(), |node| node.span.key.clone())
    }

    fn all_keys(&self) -> &[json_schema::ConfigKey] {
        self.keys.get_or_init(json_schema::config_keys)
    }

    /// Returns the paths of the keys with secret values.
    fn secret_paths(&self) -> impl Iterator<Item = &KeyPath> {
        let secret_keys = self.all_keys().iter().filter(|key| key.is_secret());
        secret_keys.map(|key| &key.path)
    }

    /// Returns the keys and tables in a table, in the order of the types.
    fn child_keys(&self, table: &[String]) -> Vec<&str> {
        let names = self.all_keys().iter().filter_map(|key| {
            let rest = key.path.strip_prefix(table)?;
            rest.first().map(String::as_str)
        });
        let mut keys: Vec<&str> = names.collect();
        keys.dedup();
        keys
    }
}
