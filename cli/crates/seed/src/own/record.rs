//! One row, or one object, with the places of its values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Issue, Spot};

/// A row, or an object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it is.
    pub(super) file: PathBuf,
    /// Where it begins.
    pub(super) spot: Spot,
    fields: BTreeMap<String, Field>,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// What it is.
    pub(super) value: Value,
    /// Where it is.
    pub(super) spot: Spot,
}

/// A value as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// What stands between two commas, which may be a text or a number.
    Cell(String),
    /// A text of JSON.
    Text(String),
    /// A number of JSON, as it is written.
    Number(String),
    /// A list of JSON: each with its SKU and its quantity.
    Items(Vec<(String, String)>),
    /// Something that no column takes: this.
    Other(&'static str),
}

impl Value {
    fn is_empty(&self) -> bool {
        match self {
            Self::Cell(text) | Self::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}

impl Record {
    /// A record of a file.
    pub(super) const fn new(file: PathBuf, spot: Spot, fields: BTreeMap<String, Field>) -> Self {
        Self { file, spot, fields }
    }

    /// A value; nothing where it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let value = &self.fields.get(name)?.value;
        (!value.is_empty()).then_some(value)
    }

    /// What is wrong with a value.
    pub(super) fn issue(&self, column: &str, reason: impl Into<String>) -> Issue {
        let field = self.fields.get(column);
        let spot = field.map_or(self.spot, |field| field.spot);
        issue(&self.file, spot, Some(column), reason)
    }

    /// The names of its values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

/// Something that is wrong with a file.
pub(super) fn issue(
    file: &Path,
    spot: Spot,
    column: Option<&str>,
    reason: impl Into<String>,
) -> Issue {
    Issue {
        file: file.to_owned(),
        spot,
        column: column.map(str::to_owned),
        reason: reason.into(),
    }
}
