//! The values of a record by the rules of the services, and by those of the tables.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::{time, validation};
use rust_decimal::Decimal;
use serde_json::Number;
use unicode_normalization::UnicodeNormalization as _;

use super::ValidationIssue;
use super::record::{FieldValue, ImportRecord};

/// A name in one of the forms that Unicode has for it: `é` may be one character or two.
pub(super) fn normalize_name(name: &str) -> String {
    name.nfc().collect()
}

/// A record that is being checked.
pub(super) struct RecordValidator<'a> {
    pub(super) record: &'a ImportRecord,
    issues: &'a mut BTreeSet<ValidationIssue>,
}

impl<'a> RecordValidator<'a> {
    /// Begins with the names of its values.
    pub(super) fn new(
        record: &'a ImportRecord,
        known: &[&str],
        issues: &'a mut BTreeSet<ValidationIssue>,
    ) -> Self {
        for name in record.column_names().filter(|name| !known.contains(name)) {
            let reason = format!("unknown column; the columns are {}", known.join(", "));
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

    /// A text without the space around it; nothing where it is missing or none.
    pub(super) fn trimmed_text(&mut self, column: &str) -> Option<&'a str> {
        match self.record.get(column)? {
            FieldValue::CsvCell(text) | FieldValue::JsonString(text) => Some(text.trim()),
            other => {
                let what = describe_type(other);
                self.add_issue(column, format!("expected a text, found {what}"));
                None
            }
        }
    }

    /// A text of at most `longest` characters; empty if the column is missing.
    pub(super) fn optional_text(&mut self, column: &str, longest: usize) -> String {
        let text = self.trimmed_text(column).unwrap_or_default();
        if text.contains('\0') {
            self.add_issue(column, "a NUL character is not allowed");
        }
        let length = text.chars().count();
        if length > longest {
            let reason = format!("{length} characters, and at most {longest} are allowed");
            self.add_issue(column, reason);
        }
        text.to_owned()
    }

    pub(super) fn require(&mut self, column: &str) {
        if !self.has_value(column) {
            self.add_issue(column, "missing");
        }
    }

    /// A required text of at most `longest` characters.
    pub(super) fn required_text(&mut self, column: &str, longest: usize) -> String {
        self.require(column);
        self.optional_text(column, longest)
    }

    /// A user of the directory.
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

    /// An amount of money: a number as JSON has it, which is what finance takes.
    pub(super) fn amount(&mut self, column: &str) -> Decimal {
        let text = match self.record.get(column) {
            None => {
                self.add_issue(column, "missing");
                return Decimal::ONE;
            }
            Some(FieldValue::CsvCell(text) | FieldValue::JsonNumber(text)) => text.trim(),
            Some(other) => {
                let what = describe_type(other);
                self.add_issue(column, format!("expected a number, found {what}"));
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

    /// An instant that has passed, and that comes after another one.
    pub(super) fn past_instant(
        &mut self,
        column: &str,
        after: Option<DateTime<Utc>>,
    ) -> DateTime<Utc> {
        self.require(column);
        let Some(text) = self.trimmed_text(column) else {
            return DateTime::default();
        };
        let Some(at) = time::parse(text) else {
            let reason = format!(
                "`{}` is not an instant such as 2026-02-03T10:00:00Z",
                abbreviate(text)
            );
            self.add_issue(column, reason);
            return DateTime::default();
        };
        if at > Utc::now() {
            self.add_issue(column, "the time is in the future");
        } else if after.is_some_and(|after| at < after) {
            self.add_issue(column, "the time is before that of the preceding step");
        }
        at
    }

    pub(super) fn keyword<'w>(&mut self, column: &str, words: &[&'w str]) -> &'w str {
        let text = self.trimmed_text(column).unwrap_or(words[0]);
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            let reason = format!("`{}` is not one of {}", abbreviate(text), words.join(", "));
            self.add_issue(column, reason);
        }
        found.unwrap_or(&words[0])
    }
}

/// What a value is.
const fn describe_type(value: &FieldValue) -> &'static str {
    match value {
        FieldValue::CsvCell(_) | FieldValue::JsonString(_) => "a text",
        FieldValue::JsonNumber(_) => "a number",
        FieldValue::Items(_) => "a list",
        FieldValue::Unsupported(what) => what,
    }
}

/// Whether nothing was lost when an amount was rounded.
fn is_exact(number: &Number, amount: Decimal) -> bool {
    let text = number.to_string();
    let exact = text.parse().or_else(|_| Decimal::from_scientific(&text));
    exact.is_ok_and(|exact: Decimal| exact == amount)
}

/// The beginning of a text that is shown as it is.
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
