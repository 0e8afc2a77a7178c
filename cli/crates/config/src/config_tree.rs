//! The untyped configuration: a tree of values with their spans. Each layer is read into a
//! tree, and the trees are merged.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{SourceId, ValueSpan};

/// The keys from the root to a value.
pub(super) type KeyPath = Vec<String>;

/// A value and its span.
#[derive(Debug, Clone)]
pub(super) struct ConfigNode {
    /// The value.
    pub value: ConfigValue,
    /// Its span in the source.
    pub span: ValueSpan,
}

/// A value as a source writes it.
#[derive(Debug, Clone)]
pub(super) enum ConfigValue {
    /// Keys and values.
    Table(BTreeMap<String, ConfigNode>),
    /// A list of values.
    Array(Vec<ConfigNode>),
    /// A string of a file.
    String(String),
    /// A string from a variable or a flag, which may represent a number or a boolean.
    Untyped(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// The description of a value that no key accepts.
    Unsupported(&'static str),
}

impl ConfigNode {
    /// Creates the tree of a parsed TOML document with the source id `source`.
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

    /// Creates a tree in which only `path` is set, to `text`. All tables on the path have the
    /// same span.
    pub(crate) fn from_untyped(path: &[String], text: String, span: &ValueSpan) -> Self {
        let leaf = Self {
            value: ConfigValue::Untyped(text),
            span: span.clone(),
        };
        path.iter().rev().fold(leaf, |inner, key| Self {
            value: ConfigValue::Table(BTreeMap::from([(key.clone(), inner)])),
            span: span.clone(),
        })
    }

    /// Returns the value at `path`.
    pub(crate) fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.value {
            ConfigValue::Table(entries) => entries.get(key.as_ref()),
            ConfigValue::Array(items) => items.get(key.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Removes the value at `path`, or the array that contains it. Returns whether there was
    /// one.
    pub(crate) fn remove(&mut self, path: &[String]) -> bool {
        let Some((key, rest)) = path.split_first() else {
            return false;
        };
        let ConfigValue::Table(entries) = &mut self.value else {
            return false;
        };
        let is_table = |node: &Self| matches!(node.value, ConfigValue::Table(_));
        match entries.get_mut(key) {
            Some(inner) if !rest.is_empty() && is_table(inner) => inner.remove(rest),
            Some(_) => entries.remove(key).is_some(),
            None => false,
        }
    }

    /// Merges `upper` into this tree: its values win, and tables are merged. Returns whether it
    /// overrides a value of a source other than `base`.
    pub(crate) fn merge(&mut self, upper: &Self, base: SourceId) -> bool {
        match (&mut self.value, &upper.value) {
            (ConfigValue::Table(entries), ConfigValue::Table(upper_entries)) => {
                let mut overrides = false;
                for (key, node) in upper_entries {
                    match entries.get_mut(key) {
                        Some(existing) => overrides |= existing.merge(node, base),
                        None => {
                            entries.insert(key.clone(), node.clone());
                        }
                    }
                }
                self.span = upper.span.clone();
                overrides
            }
            // A value that replaces a table overrides all its values.
            (ConfigValue::Table(_), _) => {
                *self = upper.clone();
                true
            }
            _ => {
                let overrides = self.span.source != base;
                *self = upper.clone();
                overrides
            }
        }
    }

    /// Calls `visit` with every value that is not a table, and its path.
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
    /// Returns the name of the type for messages.
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

    /// Converts the value to JSON.
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

/// Formats a path: `postgres.port`. A key with characters other than letters, digits, dashes
/// and underscores is quoted.
pub(super) fn format_key_path<S: AsRef<str>>(path: &[S]) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let keys: Vec<String> = path
        .iter()
        .map(AsRef::as_ref)
        .map(|key| {
            if !key.is_empty() && key.chars().all(is_bare) {
                key.to_owned()
            } else {
                format!("{key:?}")
            }
        })
        .collect();
    keys.join(".")
}
