//! One row, or one object, with the places of its values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{TextPosition, ValidationIssue};

/// A row, or an object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImportRecord {
    /// Where it is.
    pub(super) file: PathBuf,
    /// Where it begins.
    pub(super) position: TextPosition,
    fields: BTreeMap<String, Field>,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// What it is.
    pub(super) value: FieldValue,
    /// Where it is.
    pub(super) position: TextPosition,
}

/// A value as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldValue {
    /// What stands between two commas, which may be a text or a number.
    CsvCell(String),
    /// A text of JSON.
    JsonString(String),
    /// A number of JSON, as it is written.
    JsonNumber(String),
    /// A list of JSON: each with its SKU and its quantity.
    Items(Vec<(String, String)>),
    /// Something that no column takes: this.
    Unsupported(&'static str),
}

impl FieldValue {
    fn is_empty(&self) -> bool {
        match self {
            Self::CsvCell(text) | Self::JsonString(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}

impl ImportRecord {
    /// A record of a file.
    pub(super) const fn new(
        file: PathBuf,
        spot: TextPosition,
        fields: BTreeMap<String, Field>,
    ) -> Self {
        Self {
            file,
            position: spot,
            fields,
        }
    }

    /// A value; nothing where it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&FieldValue> {
        let value = &self.fields.get(name)?.value;
        (!value.is_empty()).then_some(value)
    }

    /// What is wrong with a value.
    pub(super) fn issue_for_column(
        &self,
        column: &str,
        reason: impl Into<String>,
    ) -> ValidationIssue {
        let field = self.fields.get(column);
        let spot = field.map_or(self.position, |field| field.position);
        new_issue(&self.file, spot, Some(column), reason)
    }

    /// The names of its values.
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

/// Something that is wrong with a file.
pub(super) fn new_issue(
    file: &Path,
    spot: TextPosition,
    column: Option<&str>,
    reason: impl Into<String>,
) -> ValidationIssue {
    ValidationIssue {
        file: file.to_owned(),
        position: spot,
        column: column.map(str::to_owned),
        reason: reason.into(),
    }
}
