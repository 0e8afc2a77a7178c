//! One row or one object, with the positions of its values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{TextPosition, ValidationIssue};

/// A row of CSV, or an object of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImportRecord {
    /// The file.
    pub(super) file: PathBuf,
    /// The position at which the record begins.
    pub(super) position: TextPosition,
    fields: BTreeMap<String, Field>,
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// The value.
    pub(super) value: FieldValue,
    /// The position of the value.
    pub(super) position: TextPosition,
}

/// A value as it is written in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldValue {
    /// A cell of CSV, which may be a text or a number.
    CsvCell(String),
    /// A string of JSON.
    JsonString(String),
    /// A number of JSON, as it is written.
    JsonNumber(String),
    /// A list of JSON: SKUs with their quantities.
    Items(Vec<(String, String)>),
    /// A value that no column accepts, described by this text.
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
    /// Creates a record of a file.
    pub(super) const fn new(
        file: PathBuf,
        position: TextPosition,
        fields: BTreeMap<String, Field>,
    ) -> Self {
        Self {
            file,
            position,
            fields,
        }
    }

    /// Returns a value, or `None` if it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&FieldValue> {
        let value = &self.fields.get(name)?.value;
        (!value.is_empty()).then_some(value)
    }

    /// Creates an issue of a column, at the position of its value.
    pub(super) fn issue_for_column(
        &self,
        column: &str,
        reason: impl Into<String>,
    ) -> ValidationIssue {
        let field = self.fields.get(column);
        let position = field.map_or(self.position, |field| field.position);
        new_issue(&self.file, position, Some(column), reason)
    }

    /// Returns the names of the columns.
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

/// Creates an issue of a file.
pub(super) fn new_issue(
    file: &Path,
    position: TextPosition,
    column: Option<&str>,
    reason: impl Into<String>,
) -> ValidationIssue {
    ValidationIssue {
        file: file.to_owned(),
        position,
        column: column.map(str::to_owned),
        reason: reason.into(),
    }
}
