//! From what is wrong to what a person is told: the sentence, the place with
//! its caret, and the nearest right name, all in the spelling of the layer.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use dm_core::error_code::ErrorCode;
use dm_core::suggest::{either, nearest};
use miette::NamedSource;

use super::check::Conflict;
use super::de::{Fault, FaultKind};
use super::layers::{Content, Layers, variable_name};
use super::mask::masked;
use super::problem::Problem;
use super::schema;
use super::source::{Place, SourceId, SourceKind};
use super::tree::{Node, Path, dotted};

/// The most keys that a help text lists.
const LISTED: usize = 16;

/// Makes problems of faults.
pub(super) struct Reporter<'a> {
    layers: &'a Layers,
    /// Every key there is; only made where something is wrong.
    keys: OnceCell<Vec<schema::Key>>,
}

/// What a key is called in a help text, and in full.
struct Suggestion {
    short: String,
    full: Path,
}

impl Suggestion {
    /// The path of the table that the key is in.
    fn table(&self) -> &[String] {
        self.full.split_last().map_or(&[], |(_, table)| table)
    }
}

impl<'a> Reporter<'a> {
    /// A reporter of what is wrong in `layers`.
    pub(crate) fn new(layers: &'a Layers) -> Self {
        Self {
            layers,
            keys: OnceCell::new(),
        }
    }

    /// The problems of the layers that can't be read.
    pub(crate) fn unreadable(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for layer in &self.layers.layers {
            let source = self.source(layer.source);
            match &layer.content {
                Content::Tree(_) => {}
                Content::Broken(errors) => {
                    problems.extend(errors.iter().map(|(message, span)| Problem {
                        code: ErrorCode::ConfigSyntax,
                        message: format!("invalid TOML: {message}"),
                        help: None,
                        key: None,
                        source: Some(source.clone()),
                        labels: span.clone().map(|span| (span, None)).into_iter().collect(),
                        position: Some((layer.source, span.as_ref().map_or(0, |span| span.start))),
                    }));
                }
                Content::Unusable { message, help, at } => problems.push(Problem {
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
    pub(crate) fn problem(&self, fault: &Fault) -> (Problem, bool) {
        let Fault { kind, path, place } = fault;
        let caret = match kind {
            FaultKind::InvalidKey { .. } => &place.key,
            _ => &place.value,
        };
        let name = dotted(path);
        let (code, message, label, help) = match kind {
            FaultKind::UnknownKey => return self.unknown_key(path, place),
            FaultKind::UnknownChoice { found, known } => (
                ErrorCode::ConfigInvalidValue,
                format!("`{found}` is not a choice for {name}"),
                nearest(found, *known).map(|choice| format!("did you mean `{choice}`?")),
                Some(format!("write {}", either(known))),
            ),
            FaultKind::Missing { key } => {
                let mut full = path.clone();
                full.push((*key).to_owned());
                let message = format!("{} is missing", dotted(&full));
                let help = format!(
                    "{name} requires this key: set {}",
                    self.spelled(place.source, &full)
                );
                let key_only = vec![(self.heading(path, place), None)];
                let mut problem = self.at(
                    Some(place.source),
                    ErrorCode::ConfigMissingKey,
                    message,
                    key_only,
                );
                problem.help = Some(help);
                problem.key = Some(dotted(&full));
                return (problem, true);
            }
            FaultKind::WrongType {
                expected,
                found,
                instead,
            } => {
                // The value of a secret isn't repeated.
                let secret = self.secrets().any(|key| key == path);
                let instead = instead.as_ref().filter(|_| !secret);
                let quotes = secret && expected == "a string";
                let is_file = self.kind(place) == Some(SourceKind::File);
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
            FaultKind::Invalid { reason, help } | FaultKind::InvalidKey { reason, help } => (
                ErrorCode::ConfigInvalidValue,
                format!("invalid {name}: {reason}"),
                None,
                help.clone(),
            ),
        };
        let labels = vec![(caret.clone(), label)];
        let mut problem = self.at(Some(place.source), code, message, labels);
        problem.help = help;
        problem.key = Some(name);
        (problem, true)
    }

    fn unknown_key(&self, path: &Path, place: &Place) -> (Problem, bool) {
        let kind = self.kind(place);
        let table = path.split_last().map_or(&[][..], |(_, table)| table);
        let known = self.keys_of(table);
        let suggestion = self.suggest(path, &known, kind);
        let key = path.last().map_or("", String::as_str);
        let written = self.written(place);
        let (message, certain) = match kind {
            Some(SourceKind::Variable) if written.contains("__") || suggestion.is_some() => {
                (format!("unknown variable `{written}`"), true)
            }
            Some(SourceKind::Variable) => {
                (format!("unknown variable `{written}` is ignored"), false)
            }
            Some(SourceKind::Flag) => (format!("unknown key `{}`", dotted(path)), true),
            _ if table.is_empty() => (format!("unknown section or key `{key}`"), true),
            _ => (format!("unknown key `{key}` in [{}]", dotted(table)), true),
        };
        let help = match (&suggestion, kind) {
            (None, Some(SourceKind::Variable)) => {
                Some("the variables of dm are DM_ and a key, with `__` for each dot".to_owned())
            }
            (Some(_), Some(SourceKind::Variable)) if !written.contains("__") => {
                Some("two underscores stand for each dot of a key".to_owned())
            }
            (Some(suggestion), _) if suggestion.table() != table => {
                Some(format!("it is a key of [{}]", dotted(suggestion.table())))
            }
            _ if known.len() <= LISTED => {
                let place = if table.is_empty() {
                    "the sections".to_owned()
                } else {
                    format!("the keys of [{}]", dotted(table))
                };
                Some(format!("{place} are {}", known.join(", ")))
            }
            _ => None,
        };
        let label = suggestion.map(|suggestion| format!("did you mean `{}`?", suggestion.short));
        let mut problem = self.at(
            Some(place.source),
            ErrorCode::ConfigUnknownKey,
            message,
            vec![(place.key.clone(), label)],
        );
        problem.help = help;
        problem.key = Some(dotted(path));
        (problem, certain)
    }

    /// The key that was meant by the unknown one at `path`: in a file one of the
    /// same table, elsewhere one of all; and then one of the same name in
    /// another table.
    fn suggest(&self, path: &Path, known: &[&str], kind: Option<SourceKind>) -> Option<Suggestion> {
        let key = path.last()?;
        let all = self.all_keys();
        let by_full_name = |spell: &dyn Fn(&Path) -> String| {
            let names: Vec<String> = all.iter().map(|key| spell(&key.path)).collect();
            let written = spell(path);
            let found = nearest(&written, &names)?;
            let index = names.iter().position(|name| name == found)?;
            Some(Suggestion {
                short: found.to_owned(),
                full: all.get(index)?.path.clone(),
            })
        };
        match kind {
            Some(SourceKind::Variable) => return by_full_name(&|path| variable_name(path)),
            Some(SourceKind::Flag) => {
                if let Some(found) = by_full_name(&|path| dotted(path)) {
                    return Some(found);
                }
            }
            _ => {}
        }
        if let Some(found) = nearest(key, known) {
            let mut full = path.clone();
            full.pop();
            full.push(found.to_owned());
            let short = if kind == Some(SourceKind::Flag) {
                dotted(&full)
            } else {
                found.to_owned()
            };
            return Some(Suggestion { short, full });
        }
        let all = all.iter().map(|key| &key.path);
        let mut same_name = all.filter(|other| other.last() == Some(key));
        match (same_name.next(), same_name.next()) {
            (Some(only), None) => Some(Suggestion {
                short: dotted(only),
                full: only.clone(),
            }),
            _ => None,
        }
    }

    /// The problem of two keys, or of one, that don't go with the rest. The key
    /// of the highest layer, the last one in it, is the one to change.
    pub(crate) fn conflict(&self, tree: &Node, conflict: &Conflict) -> Problem {
        let mut placed: Vec<(&Path, &Place)> = conflict
            .keys
            .iter()
            .filter_map(|path| Some((path, &tree.get(path)?.place)))
            .collect();
        placed.sort_by_key(|(_, place)| (place.source, place.value.start));
        let Some((blamed, others)) = placed.split_last() else {
            return self.at(None, conflict.code, conflict.message.clone(), Vec::new());
        };
        let (path, place) = *blamed;
        let mut labels = vec![(place.value.clone(), None)];
        let mut elsewhere = Vec::new();
        for (other, at) in others {
            if at.source == place.source {
                labels.push((at.value.clone(), Some(format!("{} is here", dotted(other)))));
            } else if let Some(source) = self.layers.sources.get(at.source) {
                let origin = match source.kind {
                    SourceKind::Defaults => "a built-in default".to_owned(),
                    _ => format!("set by {}", source.origin(at.key.start)),
                };
                elsewhere.push(format!("{} is {origin}", dotted(other)));
            }
        }
        let mut problem = self.at(
            Some(place.source),
            conflict.code,
            conflict.message.clone(),
            labels,
        );
        elsewhere.insert(0, conflict.help.clone());
        problem.help = Some(elsewhere.join("; "));
        problem.key = Some(dotted(path));
        problem
    }

    fn at(
        &self,
        source: Option<SourceId>,
        code: ErrorCode,
        message: String,
        labels: Vec<(Range<usize>, Option<String>)>,
    ) -> Problem {
        let start = labels.first().map_or(0, |(span, _)| span.start);
        Problem {
            code,
            message,
            position: source.map(|id| (id, start)),
            help: None,
            key: None,
            source: source.map(|id| self.source(id)),
            labels,
        }
    }

    /// The text of a source as it may be shown.
    fn source(&self, id: SourceId) -> NamedSource<Arc<str>> {
        let Some(source) = self.layers.sources.get(id) else {
            return NamedSource::new("", "".into());
        };
        let tree = self
            .layers
            .layers
            .iter()
            .find_map(|layer| match &layer.content {
                Content::Tree(tree) if layer.source == id => Some(tree),
                _ => None,
            });
        let secrets: Vec<&Path> = self.secrets().collect();
        let text = masked(source, tree, &secrets);
        NamedSource::new(&source.name, text.into())
    }

    fn kind(&self, place: &Place) -> Option<SourceKind> {
        Some(self.layers.sources.get(place.source)?.kind)
    }

    /// A key in the spelling of a source.
    fn spelled(&self, source: SourceId, path: &Path) -> String {
        match self.layers.sources.get(source).map(|source| source.kind) {
            Some(SourceKind::Variable) => variable_name(path),
            _ => dotted(path),
        }
    }

    /// The key as it is written at `place`.
    fn written(&self, place: &Place) -> &str {
        self.layers
            .sources
            .get(place.source)
            .and_then(|source| source.text.get(place.key.clone()))
            .unwrap_or("")
    }

    /// Where a table is named, for a problem of the table as a whole.
    fn heading(&self, path: &Path, place: &Place) -> Range<usize> {
        let in_layer = self
            .layers
            .layers
            .iter()
            .find_map(|layer| match &layer.content {
                Content::Tree(tree) if layer.source == place.source => tree.get(path),
                _ => None,
            });
        in_layer.map_or_else(|| place.key.clone(), |node| node.place.key.clone())
    }

    fn all_keys(&self) -> &[schema::Key] {
        self.keys.get_or_init(schema::keys)
    }

    /// The keys that hold secrets.
    fn secrets(&self) -> impl Iterator<Item = &Path> {
        let secret = self.all_keys().iter().filter(|key| key.is_secret());
        secret.map(|key| &key.path)
    }

    /// The keys and tables in a table, in the order of the types.
    fn keys_of(&self, table: &[String]) -> Vec<&str> {
        let below = self.all_keys().iter().filter_map(|key| {
            let rest = key.path.strip_prefix(table)?;
            rest.first().map(String::as_str)
        });
        let mut keys: Vec<&str> = below.collect();
        keys.dedup();
        keys
    }
}
