//! Configuration before it has types: a tree in which every value knows its
//! place. Layers are read into trees, and trees are laid over one another.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{SourceId, ValueSpan};

/// The keys from the root to a value.
pub(super) type KeyPath = Vec<String>;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct ConfigNode {
    /// The value.
    pub value: ConfigValue,
    /// Its place.
    pub span: ValueSpan,
}

/// A value as a source writes it.
#[derive(Debug, Clone)]
pub(super) enum ConfigValue {
    /// Keys and values.
    Table(BTreeMap<String, ConfigNode>),
    /// Values in a row.
    Array(Vec<ConfigNode>),
    /// A string of a file.
    String(String),
    /// A string from outside, which may stand for a number or a boolean.
    Untyped(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Something that no key takes, by its description.
    Unsupported(&'static str),
}

impl ConfigNode {
    /// The tree of a parsed TOML document, which is source `source`.
    pub(crate) fn from_toml(source: SourceId, document: Spanned<DeTable<'_>>) -> Self {
        let span = document.span();
        Self {
            value: table_from_toml(source, document.into_inner()),
            span: ValueSpan {
                source,
                key: span.clone(),
                value: span,
            },
        }
    }

    /// The tree in which nothing but `path` is set, to `word`. Every table on
    /// the way has the same place.
    pub(crate) fn from_untyped(path: &[String], word: String, place: &ValueSpan) -> Self {
        let leaf = Self {
            value: ConfigValue::Untyped(word),
            span: place.clone(),
        };
        path.iter().rev().fold(leaf, |inner, key| Self {
            value: ConfigValue::Table(BTreeMap::from([(key.clone(), inner)])),
            span: place.clone(),
        })
    }

    /// The value at `path`.
    pub(crate) fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.value {
            ConfigValue::Table(entries) => entries.get(key.as_ref()),
            ConfigValue::Array(items) => items.get(key.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Takes out the value at `path`, or the array that it is in. True where
    /// there was one.
    pub(crate) fn remove(&mut self, path: &[String]) -> bool {
        let Some((key, rest)) = path.split_first() else {
            return false;
        };
        let ConfigValue::Table(entries) = &mut self.value else {
            return false;
        };
        let inside_table = |node: &Self| matches!(node.value, ConfigValue::Table(_));
        match entries.get_mut(key) {
            Some(inner) if !rest.is_empty() && inside_table(inner) => inner.remove(rest),
            Some(_) => entries.remove(key).is_some(),
            None => false,
        }
    }

    /// Lays `over` on top: what it sets wins, and tables are joined. True where
    /// it hides a value of another source than `base`.
    pub(crate) fn merge(&mut self, over: &Self, base: SourceId) -> bool {
        match (&mut self.value, &over.value) {
            (ConfigValue::Table(below), ConfigValue::Table(above)) => {
                let mut hides = false;
                for (key, node) in above {
                    match below.get_mut(key) {
                        Some(existing) => hides |= existing.merge(node, base),
                        None => {
                            below.insert(key.clone(), node.clone());
                        }
                    }
                }
                self.span = over.span.clone();
                hides
            }
            // A value in place of a table hides all that is in it.
            (ConfigValue::Table(_), _) => {
                *self = over.clone();
                true
            }
            _ => {
                let hides = self.span.source != base;
                *self = over.clone();
                hides
            }
        }
    }

    /// Calls `visit` with every value that is no table, and its path.
    pub(crate) fn for_each_leaf<'a>(&'a self, visit: &mut impl FnMut(&KeyPath, &'a Self)) {
        self.visit_leaves(&mut KeyPath::new(), visit);
    }

    fn visit_leaves<'a>(&'a self, path: &mut KeyPath, visit: &mut impl FnMut(&KeyPath, &'a Self)) {
        match &self.value {
            ConfigValue::Table(entries) => {
                for (key, node) in entries {
                    path.push(key.clone());
                    node.visit_leaves(path, visit);
                    path.pop();
                }
            }
            _ => visit(path, self),
        }
    }
}

impl ConfigValue {
    /// What a person calls such a value.
    pub(crate) fn type_description(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::Array(_) => "an array",
            Self::String(_) | Self::Untyped(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::Unsupported(kind) => kind,
        }
    }

    /// The value as JSON has it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Table(entries) => entries
                .iter()
                .map(|(key, node)| (key.clone(), node.value.to_json()))
                .collect(),
            Self::Array(items) => items.iter().map(|node| node.value.to_json()).collect(),
            Self::String(text) | Self::Untyped(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Boolean(value) => (*value).into(),
            Self::Unsupported(_) => serde_json::Value::Null,
        }
    }
}

fn table_from_toml(source: SourceId, entries: DeTable<'_>) -> ConfigValue {
    let entries = entries.into_iter().map(|(key, value)| {
        let key_span = key.span();
        let node = node_from_toml(source, key_span, value);
        (key.into_inner().into_owned(), node)
    });
    ConfigValue::Table(entries.collect())
}

fn node_from_toml(
    source: SourceId,
    key: std::ops::Range<usize>,
    value: Spanned<DeValue<'_>>,
) -> ConfigNode {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => ConfigValue::String(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or(
            ConfigValue::Unsupported("a number of more than 64 bits"),
            ConfigValue::Integer,
        ),
        DeValue::Float(number) => number.as_str().parse().map_or(
            ConfigValue::Unsupported("a number out of range"),
            ConfigValue::Float,
        ),
        DeValue::Boolean(value) => ConfigValue::Boolean(value),
        DeValue::Datetime(_) => ConfigValue::Unsupported("a date or time"),
        DeValue::Array(items) => ConfigValue::Array(
            items
                .into_iter()
                .map(|item| node_from_toml(source, item.span(), item))
                .collect(),
        ),
        DeValue::Table(entries) => table_from_toml(source, entries),
    };
    ConfigNode {
        value,
        span: ValueSpan {
            source,
            key,
            value: span,
        },
    }
}

/// A path as a person writes it: `postgres.port`, with quotes where a key has
/// other than letters, digits, dashes and underscores.
pub(super) fn format_key_path<S: AsRef<str>>(path: &[S]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let keys: Vec<String> = path
        .iter()
        .map(AsRef::as_ref)
        .map(|key| {
            if !key.is_empty() && key.chars().all(bare) {
                key.to_owned()
            } else {
                format!("{key:?}")
            }
        })
        .collect();
    keys.join(".")
}
