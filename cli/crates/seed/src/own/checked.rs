//! The values of a record by the rules of the services, and by those of the tables.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::{rules, time};
use rust_decimal::Decimal;
use serde_json::Number;
use unicode_normalization::UnicodeNormalization as _;

use super::Issue;
use super::record::{Record, Value};

/// A name in one of the forms that Unicode has for it: `é` may be one character or two.
pub(super) fn same(name: &str) -> String {
    name.nfc().collect()
}

/// A record that is being checked.
pub(super) struct Checked<'a> {
    pub(super) record: &'a Record,
    issues: &'a mut BTreeSet<Issue>,
}

impl<'a> Checked<'a> {
    /// Begins with the names of its values.
    pub(super) fn begin(
        record: &'a Record,
        known: &[&str],
        issues: &'a mut BTreeSet<Issue>,
    ) -> Self {
        for name in record.names().filter(|name| !known.contains(name)) {
            let reason = format!("unknown column; the columns are {}", known.join(", "));
            issues.insert(record.issue(name, reason));
        }
        Self { record, issues }
    }

    pub(super) fn wrong(&mut self, column: &str, reason: impl Into<String>) {
        self.issues.insert(self.record.issue(column, reason));
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.record.get(column).is_some()
    }

    /// A text without the space around it; nothing where it is missing or none.
    pub(super) fn given(&mut self, column: &str) -> Option<&'a str> {
        match self.record.get(column)? {
            Value::Cell(text) | Value::Text(text) => Some(text.trim()),
            other => {
                let what = what(other);
                self.wrong(column, format!("expected a text, found {what}"));
                None
            }
        }
    }

    /// A text of at most `longest` characters; empty if the column is missing.
    pub(super) fn optional(&mut self, column: &str, longest: usize) -> String {
        let text = self.given(column).unwrap_or_default();
        if text.contains('\0') {
            self.wrong(column, "a NUL character is not allowed");
        }
        let length = text.chars().count();
        if length > longest {
            let reason = format!("{length} characters, and at most {longest} are allowed");
            self.wrong(column, reason);
        }
        text.to_owned()
    }

    pub(super) fn needed(&mut self, column: &str) {
        if !self.has(column) {
            self.wrong(column, "missing");
        }
    }

    /// A required text of at most `longest` characters.
    pub(super) fn text(&mut self, column: &str, longest: usize) -> String {
        self.needed(column);
        self.optional(column, longest)
    }

    /// A user of the directory.
    pub(super) fn user(&mut self, column: &str) -> String {
        self.needed(column);
        let text = self.optional(column, rules::LONGEST_USER_ID);
        if !text.contains('\0') && !rules::is_user_id(&text) {
            self.wrong(column, "a user id has no control characters");
        }
        text
    }

    pub(super) fn email(&mut self, column: &str) -> String {
        let text = self.text(column, rules::LONGEST_EMAIL);
        if !text.is_empty() && !rules::is_email(&text) {
            self.wrong(
                column,
                format!("`{}` is not an e-mail address", short(&text)),
            );
        }
        text
    }

    pub(super) fn date(&mut self, column: &str) -> NaiveDate {
        self.needed(column);
        let Some(text) = self.given(column) else {
            return NaiveDate::default();
        };
        let date = time::date(text);
        if date.is_none() {
            let reason = format!("`{}` is not a date such as 2026-02-03", short(text));
            self.wrong(column, reason);
        }
        date.unwrap_or_default()
    }

    /// An amount of money: a number as JSON has it, which is what finance takes.
    pub(super) fn amount(&mut self, column: &str) -> Decimal {
        let text = match self.record.get(column) {
            None => {
                self.wrong(column, "missing");
                return Decimal::ONE;
            }
            Some(Value::Cell(text) | Value::Number(text)) => text.trim(),
            Some(other) => {
                let what = what(other);
                self.wrong(column, format!("expected a number, found {what}"));
                return Decimal::ONE;
            }
        };
        let Ok(number) = serde_json::from_str::<Number>(text) else {
            self.wrong(
                column,
                format!("`{}` is not an amount such as 48.15", short(text)),
            );
            return Decimal::ONE;
        };
        match rules::amount(Some(&number)) {
            Err(issue) => self.wrong(column, issue),
            Ok(amount) if !is_exact(&number, amount) => {
                self.wrong(column, "more than two decimals");
            }
            Ok(amount) => return amount,
        }
        Decimal::ONE
    }

    /// An instant that has passed, and that comes after another one.
    pub(super) fn instant(&mut self, column: &str, after: Option<DateTime<Utc>>) -> DateTime<Utc> {
        self.needed(column);
        let Some(text) = self.given(column) else {
            return DateTime::default();
        };
        let Some(at) = time::parse(text) else {
            let reason = format!(
                "`{}` is not an instant such as 2026-02-03T10:00:00Z",
                short(text)
            );
            self.wrong(column, reason);
            return DateTime::default();
        };
        if at > Utc::now() {
            self.wrong(column, "the time is in the future");
        } else if after.is_some_and(|after| at < after) {
            self.wrong(column, "the time is before that of the preceding step");
        }
        at
    }

    pub(super) fn word<'w>(&mut self, column: &str, words: &[&'w str]) -> &'w str {
        let text = self.given(column).unwrap_or(words[0]);
        let found = words.iter().find(|word| **word == text);
        if found.is_none() {
            let reason = format!("`{}` is not one of {}", short(text), words.join(", "));
            self.wrong(column, reason);
        }
        found.unwrap_or(&words[0])
    }
}

/// What a value is.
const fn what(value: &Value) -> &'static str {
    match value {
        Value::Cell(_) | Value::Text(_) => "a text",
        Value::Number(_) => "a number",
        Value::Items(_) => "a list",
        Value::Other(what) => what,
    }
}

/// Whether nothing was lost when an amount was rounded.
fn is_exact(number: &Number, amount: Decimal) -> bool {
    let text = number.to_string();
    let exact = text.parse().or_else(|_| Decimal::from_scientific(&text));
    exact.is_ok_and(|exact: Decimal| exact == amount)
}

/// The beginning of a text that is shown as it is.
pub(super) fn short(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).collect();
    let shown = shown
        .escape_debug()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"");
    if text.chars().count() > SHOWN {
        format!("{shown}…")
    } else {
        shown
    }
}
