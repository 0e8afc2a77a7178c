//! Configuration before it has types: a tree in which every value knows its
//! place. Layers are read into trees, and trees are laid over one another.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{Place, SourceId};

/// The keys from the root to a value.
pub(super) type Path = Vec<String>;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The value.
    pub value: Value,
    /// Its place.
    pub place: Place,
}

/// A value as a source writes it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Keys and values.
    Table(BTreeMap<String, Node>),
    /// Values in a row.
    Array(Vec<Node>),
    /// A string of a file.
    Text(String),
    /// A string from outside, which may stand for a number or a boolean.
    Word(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Something that no key takes, by its description.
    Other(&'static str),
}

impl Node {
    /// The tree of a parsed TOML document, which is source `source`.
    pub(crate) fn from_toml(source: SourceId, document: Spanned<DeTable<'_>>) -> Self {
        let span = document.span();
        Self {
            value: table(source, document.into_inner()),
            place: Place {
                source,
                key: span.clone(),
                value: span,
            },
        }
    }

    /// The tree in which nothing but `path` is set, to `word`. Every table on
    /// the way has the same place.
    pub(crate) fn from_word(path: &[String], word: String, place: &Place) -> Self {
        let leaf = Self {
            value: Value::Word(word),
            place: place.clone(),
        };
        path.iter().rev().fold(leaf, |inner, key| Self {
            value: Value::Table(BTreeMap::from([(key.clone(), inner)])),
            place: place.clone(),
        })
    }

    /// The value at `path`.
    pub(crate) fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.value {
            Value::Table(entries) => entries.get(key.as_ref()),
            Value::Array(items) => items.get(key.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Takes out the value at `path`, or the array that it is in. True where
    /// there was one.
    pub(crate) fn remove(&mut self, path: &[String]) -> bool {
        let Some((key, rest)) = path.split_first() else {
            return false;
        };
        let Value::Table(entries) = &mut self.value else {
            return false;
        };
        let inside_table = |node: &Self| matches!(node.value, Value::Table(_));
        match entries.get_mut(key) {
            Some(inner) if !rest.is_empty() && inside_table(inner) => inner.remove(rest),
            Some(_) => entries.remove(key).is_some(),
            None => false,
        }
    }

    /// Lays `over` on top: what it sets wins, and tables are joined. True where
    /// it hides a value of another source than `base`.
    pub(crate) fn overlay(&mut self, over: &Self, base: SourceId) -> bool {
        match (&mut self.value, &over.value) {
            (Value::Table(below), Value::Table(above)) => {
                let mut hides = false;
                for (key, node) in above {
                    match below.get_mut(key) {
                        Some(existing) => hides |= existing.overlay(node, base),
                        None => {
                            below.insert(key.clone(), node.clone());
                        }
                    }
                }
                self.place = over.place.clone();
                hides
            }
            // A value in place of a table hides all that is in it.
            (Value::Table(_), _) => {
                *self = over.clone();
                true
            }
            _ => {
                let hides = self.place.source != base;
                *self = over.clone();
                hides
            }
        }
    }

    /// Calls `visit` with every value that is no table, and its path.
    pub(crate) fn each_leaf<'a>(&'a self, visit: &mut impl FnMut(&Path, &'a Self)) {
        self.walk(&mut Path::new(), visit);
    }

    fn walk<'a>(&'a self, path: &mut Path, visit: &mut impl FnMut(&Path, &'a Self)) {
        match &self.value {
            Value::Table(entries) => {
                for (key, node) in entries {
                    path.push(key.clone());
                    node.walk(path, visit);
                    path.pop();
                }
            }
            _ => visit(path, self),
        }
    }
}

impl Value {
    /// What a person calls such a value.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::Array(_) => "an array",
            Self::Text(_) | Self::Word(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::Other(kind) => kind,
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
            Self::Text(text) | Self::Word(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Boolean(value) => (*value).into(),
            Self::Other(_) => serde_json::Value::Null,
        }
    }
}

fn table(source: SourceId, entries: DeTable<'_>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| {
        let key_span = key.span();
        let node = node(source, key_span, value);
        (key.into_inner().into_owned(), node)
    });
    Value::Table(entries.collect())
}

fn node(source: SourceId, key: std::ops::Range<usize>, value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or(
            Value::Other("a number of more than 64 bits"),
            Value::Integer,
        ),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or(Value::Other("a number out of range"), Value::Float),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| node(source, item.span(), item))
                .collect(),
        ),
        DeValue::Table(entries) => table(source, entries),
    };
    Node {
        value,
        place: Place {
            source,
            key,
            value: span,
        },
    }
}

/// A path as a person writes it: `postgres.port`, with quotes where a key has
/// other than letters, digits, dashes and underscores.
pub(super) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
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
