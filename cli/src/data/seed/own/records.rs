//! Files taken apart. Every value keeps its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Issue;
use crate::data::seed::SeedError;

/// A row, or an object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it is.
    pub(super) file: PathBuf,
    /// Where it begins, from 1.
    pub(super) line: u64,
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    text: String,
    line: u64,
}

impl Record {
    /// A value; nothing where it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let text = self.fields.get(name)?.text.trim();
        Some(text).filter(|text| !text.is_empty())
    }

    /// What is wrong with a value.
    pub(super) fn issue(&self, column: &str, reason: impl Into<String>) -> Issue {
        Issue {
            file: self.file.clone(),
            line: self
                .fields
                .get(column)
                .map_or(self.line, |field| field.line),
            column: column.to_owned(),
            reason: reason.into(),
        }
    }

    /// The names of its values.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

/// Reads the file of this name in a folder, whichever form it has; nothing where there is
/// none.
pub(super) fn read(
    folder: &Path,
    name: &str,
    issues: &mut BTreeSet<Issue>,
) -> Result<Option<Vec<Record>>, SeedError> {
    let mut found: Option<(PathBuf, Vec<Record>)> = None;
    for form in ["csv", "json"] {
        let path = folder.join(format!("{name}.{form}"));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SeedError::File { path, source }),
        };
        if let Some((other, _)) = &found {
            issues.insert(issue(
                &path,
                1,
                "1",
                format!("{} is there, too", shown(other)),
            ));
            continue;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
                issues.insert(issue(&path, line, "1", "not UTF-8"));
                continue;
            }
        };
        let text = text.trim_start_matches('\u{feff}');
        let records = if form == "csv" {
            of_csv(&path, text, issues)
        } else {
            of_json(&path, text, issues)
        };
        found = Some((path, records));
    }
    Ok(found.map(|(_, records)| records))
}

fn shown(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn issue(file: &Path, line: u64, column: &str, reason: impl Into<String>) -> Issue {
    Issue {
        file: file.to_owned(),
        line,
        column: column.to_owned(),
        reason: reason.into(),
    }
}

fn of_csv(path: &Path, text: &str, issues: &mut BTreeSet<Issue>) -> Vec<Record> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_owned).collect(),
        Err(error) => {
            issues.insert(of_error(path, &error));
            return Vec::new();
        }
    };
    let twice = names
        .iter()
        .enumerate()
        .find(|(at, name)| names[..*at].contains(name));
    if let Some((_, name)) = twice {
        issues.insert(issue(path, 1, name, "the column is there twice"));
    }
    let mut records = Vec::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                issues.insert(of_error(path, &error));
                continue;
            }
        };
        let line = row.position().map_or(1, csv::Position::line);
        let fields = names
            .iter()
            .zip(&row)
            .map(|(name, text)| {
                let text = text.to_owned();
                (name.clone(), Field { text, line })
            })
            .collect();
        records.push(Record {
            file: path.to_owned(),
            line,
            fields,
        });
    }
    records
}

fn of_error(path: &Path, error: &csv::Error) -> Issue {
    let line = error.position().map_or(1, csv::Position::line);
    let (column, reason) = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => (
            (expected_len.min(len) + 1).to_string(),
            format!("{len} columns, and the first line has {expected_len}"),
        ),
        other => ("1".to_owned(), format!("{other:?}")),
    };
    issue(path, line, &column, reason)
}

/// A list of objects. Each is read by itself, so that its place is known and one that is
/// wrong does not hide the next one.
fn of_json(path: &Path, text: &str, issues: &mut BTreeSet<Issue>) -> Vec<Record> {
    let mut records = Vec::new();
    let place = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        let line = 1 + before.matches('\n').count() as u64;
        let column = at - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        (line, column)
    };
    let mut wrong = |at: usize, reason: String| {
        let (line, column) = place(at);
        issues.insert(issue(path, line, &column.to_string(), reason));
    };
    let skip = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let mut at = skip(0);
    if !text[at..].starts_with('[') {
        wrong(
            at,
            "a list of objects is expected, which begins with `[`".into(),
        );
        return records;
    }
    at = skip(at + 1);
    while !text[at..].starts_with(']') {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                // It counts from where it began to read.
                let (line, mut column) = place(at);
                column = match error.line() {
                    0 | 1 => column - 1 + error.column(),
                    _ => error.column(),
                };
                let line = line + error.line() as u64 - 1;
                issues.insert(issue(path, line, &column.to_string(), plain(&error)));
                return records;
            }
            None => {
                wrong(at, "the list does not end".into());
                return records;
            }
        };
        let end = at + values.byte_offset();
        match value {
            Value::Object(object) => {
                let (line, _) = place(at);
                let raw = &text[at..end];
                let fields = object
                    .into_iter()
                    .map(|(name, value)| {
                        let key = format!("\"{name}\"");
                        let line = raw.find(&key).map_or(line, |key| place(at + key).0);
                        let text = as_text(value);
                        (name, Field { text, line })
                    })
                    .collect();
                records.push(Record {
                    file: path.to_owned(),
                    line,
                    fields,
                });
            }
            _ => wrong(at, "not an object".into()),
        }
        at = skip(end);
        match text[at..].chars().next() {
            Some(',') => at = skip(at + 1),
            Some(']') => {}
            _ => {
                wrong(at, "`,` or `]` is expected".into());
                return records;
            }
        }
    }
    let rest = skip(at + 1);
    if rest < text.len() {
        wrong(rest, "something follows the list".into());
    }
    records
}

/// What serde_json says, without the place that it counts from the object on.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// A value as CSV would have it: `SKU:quantity;…` for items.
fn as_text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Array(items) => {
            let items = items.into_iter().map(|item| match item {
                Value::Object(item) => {
                    let part = |name| item.get(name).cloned().map(as_text).unwrap_or_default();
                    format!("{}:{}", part("sku"), part("quantity"))
                }
                other => as_text(other),
            });
            items.collect::<Vec<_>>().join(";")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(form: &str, text: &[u8]) -> (Vec<Record>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("orders.{form}")), text).unwrap();
        let mut issues = BTreeSet::new();
        let records = read(folder.path(), "orders", &mut issues).unwrap();
        let issues = issues
            .iter()
            .map(|it| format!("{}:{}: {}", it.line, it.column, it.reason));
        (records.unwrap_or_default(), issues.collect())
    }

    #[test]
    fn both_forms_are_the_same() {
        let csv = "client,items,notes\n\"Voss, Legal\",A:2;B:1,\n";
        let json = r#"[
          {"client": "Voss, Legal",
           "items": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}],
           "notes": null}
        ]"#;
        let (of_csv, none) = read_as("csv", csv.as_bytes());
        assert_eq!(none, [""; 0]);
        let (of_json, none) = read_as("json", json.as_bytes());
        assert_eq!(none, [""; 0]);
        for record in [&of_csv[0], &of_json[0]] {
            assert_eq!(record.get("client"), Some("Voss, Legal"));
            assert_eq!(record.get("items"), Some("A:2;B:1"));
            assert_eq!(record.get("notes"), None);
        }
        assert_eq!(of_csv[0].issue("items", "x").line, 2);
        assert_eq!(of_json[0].issue("items", "x").line, 3);
    }

    #[test]
    fn what_is_no_file_of_that_form_is_told_with_its_place() {
        for (form, text, told) in [
            (
                "csv",
                "a,b\n1,2\n3\n",
                "3:2: 1 columns, and the first line has 2",
            ),
            ("csv", "a,a\n1,2\n", "1:a: the column is there twice"),
            (
                "json",
                "{}",
                "1:1: a list of objects is expected, which begins with `[`",
            ),
            ("json", "[\n {\"a\": 1},\n {\"a\" 2}]", "3:7: expected `:`"),
            (
                "json",
                "[{\"a\": 1}\n {\"a\": 2}]",
                "2:2: `,` or `]` is expected",
            ),
            ("json", "[1]", "1:2: not an object"),
            ("json", "[]]", "1:3: something follows the list"),
            ("json", "[", "1:2: the list does not end"),
        ] {
            let (_, issues) = read_as(form, text.as_bytes());
            assert_eq!(issues, [told], "{text}");
        }
        let (_, issues) = read_as("csv", b"a\nb\n\xff\n");
        assert_eq!(issues, ["3:1: not UTF-8"]);
    }
}
