//! Validates the values of a record by the rules of the services and of the tables.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::{time, validation};
use rust_decimal::Decimal;
use serde_json::Number;
use unicode_normalization::UnicodeNormalization as _;

use super::ValidationIssue;
use super::record::{FieldValue, ImportRecord};

/// Normalizes a name to Unicode NFC: `é` may be one character or two.
pub(super) fn normalize_name(name: &str) -> String {
    name.nfc().collect()
}

/// Validates one record.
pub(super) struct RecordValidator<'a> {
    pub(super) record: &'a ImportRecord,
    issues: &'a mut BTreeSet<ValidationIssue>,
}

impl<'a> RecordValidator<'a> {
    /// Creates a validator, and adds an issue for each unknown column.
    pub(super) fn new(
        record: &'a ImportRecord,
        known_columns: &[&str],
        issues: &'a mut BTreeSet<ValidationIssue>,
    ) -> Self {
        for name in record
            .column_names()
            .filter(|name| !known_columns.contains(name))
        {
            let reason = format!(
                "unknown column; the columns are {}",
                known_columns.join(", ")
            );
            issues.insert(record.issue_for_column(name, reason));
        }
        Self { record, issues }
    }

    pub(super) fn add_issue(&mut self, column: &str, reason: impl Into<String>) {
        self.issues
            .insert(self.record.issue_for_column(column, reason));
    }

    pub(super) fn has_value(&self, column: &str) -> bool {
        self.record.get(column).is_some()
    }

    /// Returns a trimmed text, or `None` if the value is missing or not a text.
    pub(super) fn trimmed_text(&mut self, column: &str) -> Option<&'a str> {
        match self.record.get(column)? {
            FieldValue::CsvCell(text) | FieldValue::JsonString(text) => Some(text.trim()),
            other => {
                let actual = describe_type(other);
                self.add_issue(column, format!("expected a text, found {actual}"));
                None
            }
        }
    }

    /// Returns a text of at most `max_length` characters, or an empty one if the column is missing.
    pub(super) fn optional_text(&mut self, column: &str, max_length: usize) -> String {
        let text = self.trimmed_text(column).unwrap_or_default();
        if text.contains('\0') {
            self.add_issue(column, "a NUL character is not allowed");
        }
        let length = text.chars().count();
        if length > max_length {
            let reason = format!("{length} characters, and at most {max_length} are allowed");
            self.add_issue(column, reason);
        }
        text.to_owned()
    }

    pub(super) fn require(&mut self, column: &str) {
        if !self.has_value(column) {
            self.add_issue(column, "missing");
        }
    }

    /// Returns a required text of at most `max_length` characters.
    pub(super) fn required_text(&mut self, column: &str, max_length: usize) -> String {
        self.require(column);
        self.optional_text(column, max_length)
    }

    /// Returns a user id.
    pub(super) fn user_id(&mut self, column: &str) -> String {
        self.require(column);
        let text = self.optional_text(column, validation::MAX_USER_ID_LENGTH);
        if !text.contains('\0') && !validation::is_valid_user_id(&text) {
            self.add_issue(column, "a user id has no control characters");
        }
        text
    }

    pub(super) fn email(&mut self, column: &str) -> String {
        let text = self.required_text(column, validation::MAX_EMAIL_LENGTH);
        if !text.is_empty() && !validation::is_email(&text) {
            self.add_issue(
                column,
                format!("`{}` is not an e-mail address", abbreviate(&text)),
            );
        }
        text
    }

    pub(super) fn date(&mut self, column: &str) -> NaiveDate {
        self.require(column);
        let Some(text) = self.trimmed_text(column) else {
            return NaiveDate::default();
        };
        let date = time::parse_date(text);
        if date.is_none() {
            let reason = format!("`{}` is not a date such as 2026-02-03", abbreviate(text));
            self.add_issue(column, reason);
        }
        date.unwrap_or_default()
    }

    /// Returns an amount of money: a number in the syntax of JSON, which finance accepts.
    pub(super) fn amount(&mut self, column: &str) -> Decimal {
        let text = match self.record.get(column) {
            None => {
                self.add_issue(column, "missing");
                return Decimal::ONE;
            }
            Some(FieldValue::CsvCell(text) | FieldValue::JsonNumber(text)) => text.trim(),
            Some(other) => {
                let actual = describe_type(other);
                self.add_issue(column, format!("expected a number, found {actual}"));
                return Decimal::ONE;
            }
        };
        let Ok(number) = serde_json::from_str::<Number>(text) else {
            self.add_issue(
                column,
                format!("`{}` is not an amount such as 48.15", abbreviate(text)),
            );
            return Decimal::ONE;
        };
        match validation::parse_amount(Some(&number)) {
            Err(issue) => self.add_issue(column, issue),
            Ok(amount) if !is_exact(&number, amount) => {
                self.add_issue(column, "more than two decimals");
            }
            Ok(amount) => return amount,
        }
        Decimal::ONE
    }

    /// Returns an instant that is not in the future and not before `after`.
    pub(super) fn past_instant(
        &mut self,
        column: &str,
        after: Option<DateTime<Utc>>,
    ) -> DateTime<Utc> {
        self.require(column);
        let Some(text) = self.trimmed_text(column) else {
            return DateTime::default();
        };
        let Some(instant) = time::parse(text) else {
            let reason = format!(
                "`{}` is not an instant such as 2026-02-03T10:00:00Z",
                abbreviate(text)
            );
            self.add_issue(column, reason);
            return DateTime::default();
        };
        if instant > Utc::now() {
            self.add_issue(column, "the time is in the future");
        } else if after.is_some_and(|after| instant < after) {
            self.add_issue(column, "the time is before that of the preceding step");
        }
        instant
    }

    /// Returns one of `keywords`: the first if the column is missing or the value is invalid.
    pub(super) fn keyword<'w>(&mut self, column: &str, keywords: &[&'w str]) -> &'w str {
        let text = self.trimmed_text(column).unwrap_or(keywords[0]);
        let keyword = keywords.iter().find(|keyword| **keyword == text);
        if keyword.is_none() {
            let reason = format!(
                "`{}` is not one of {}",
                abbreviate(text),
                keywords.join(", ")
            );
            self.add_issue(column, reason);
        }
        keyword.unwrap_or(&keywords[0])
    }
}

/// Describes the type of a value.
const fn describe_type(value: &FieldValue) -> &'static str {
    match value {
        FieldValue::CsvCell(_) | FieldValue::JsonString(_) => "a text",
        FieldValue::JsonNumber(_) => "a number",
        FieldValue::Items(_) => "a list",
        FieldValue::Unsupported(description) => description,
    }
}

/// Returns whether rounding has not changed an amount.
fn is_exact(number: &Number, amount: Decimal) -> bool {
    let text = number.to_string();
    let exact = text.parse().or_else(|_| Decimal::from_scientific(&text));
    exact.is_ok_and(|exact: Decimal| exact == amount)
}

/// Returns the beginning of a text for an issue, with control characters escaped.
pub(super) fn abbreviate(text: &str) -> String {
    const MAX_CHARACTERS: usize = 60;
    let shown: String = text.chars().take(MAX_CHARACTERS).collect();
    let shown = shown
        .escape_debug()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"");
    if text.chars().count() > MAX_CHARACTERS {
        format!("{shown}…")
    } else {
        shown
    }
}
