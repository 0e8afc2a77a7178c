//! Parses files into records. Every value keeps its position.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::line_index::LineIndex;
use super::record::{ImportRecord, new_issue};
use super::{TextPosition, ValidationIssue, csv, json};
use crate::SeedError;

/// Reads the records of `<name>.csv` or `<name>.json` in a directory. Returns `None` if neither
/// exists.
pub(super) fn read_records(
    directory: &Path,
    name: &str,
    issues: &mut BTreeSet<ValidationIssue>,
) -> Result<Option<Vec<ImportRecord>>, SeedError> {
    let mut result: Option<(PathBuf, Vec<ImportRecord>)> = None;
    for extension in ["csv", "json"] {
        let path = directory.join(format!("{name}.{extension}"));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SeedError::ReadFile { path, source }),
        };
        if let Some((other, _)) = &result {
            let reason = format!("{} exists as well", file_name(other));
            issues.insert(new_issue(&path, TextPosition::from_line(1), None, reason));
            continue;
        }
        let records = parse_records(&path, extension == "csv", bytes, issues);
        result = Some((path, records));
    }
    Ok(result.map(|(_, records)| records))
}

/// Parses the records in the bytes of a file.
pub(super) fn parse_records(
    path: &Path,
    is_csv: bool,
    bytes: Vec<u8>,
    issues: &mut BTreeSet<ValidationIssue>,
) -> Vec<ImportRecord> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let end = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..end]);
            let position = LineIndex::new(&before).position_at(before.len());
            issues.insert(new_issue(path, position, None, "not UTF-8"));
            return Vec::new();
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if is_csv {
        csv::parse(path, text, issues)
    } else {
        json::parse(path, text, issues)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::record::FieldValue;
    use super::*;

    pub(crate) fn read_as(extension: &str, text: &[u8]) -> (Vec<ImportRecord>, Vec<String>) {
        let mut issues = BTreeSet::new();
        let path = PathBuf::from(format!("orders.{extension}"));
        let records = parse_records(&path, extension == "csv", text.to_vec(), &mut issues);
        let prefix = format!("orders.{extension}:");
        let issues = issues
            .iter()
            .map(|issue| issue.to_string().replacen(&prefix, "", 1))
            .collect();
        (records, issues)
    }

    #[test]
    fn csv_and_json_give_the_same_records() {
        let csv = "client,items,notes\n\"Voss, Legal\",A:2;B:1,\n";
        let json = r#"[
          {"client": "Voss, Legal",
           "items": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}],
           "notes": null}
        ]"#;
        let (from_csv, issues) = read_as("csv", csv.as_bytes());
        assert_eq!(issues, [""; 0]);
        let (from_json, issues) = read_as("json", json.as_bytes());
        assert_eq!(issues, [""; 0]);
        let cell = |text: &str| Some(FieldValue::CsvCell(text.into()));
        assert_eq!(from_csv[0].get("client").cloned(), cell("Voss, Legal"));
        assert_eq!(from_csv[0].get("items").cloned(), cell("A:2;B:1"));
        assert_eq!(
            from_json[0].get("client"),
            Some(&FieldValue::JsonString("Voss, Legal".into()))
        );
        let items = [("A".to_owned(), "2".to_owned()), ("B".into(), "1".into())];
        assert_eq!(
            from_json[0].get("items"),
            Some(&FieldValue::Items(items.into()))
        );
        for record in [&from_csv[0], &from_json[0]] {
            assert_eq!(record.get("notes"), None);
        }
        assert_eq!(
            from_csv[0].issue_for_column("items", "x").position,
            TextPosition::from_line(2)
        );
        assert_eq!(
            from_json[0]
                .issue_for_column("items", "x")
                .position
                .to_string(),
            "3:12"
        );
    }

    #[test]
    fn parse_records_rejects_bytes_that_are_not_utf8() {
        let (_, issues) = read_as("csv", b"a\nb\n\xff\n");
        assert_eq!(issues, ["3:1: not UTF-8"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// Every position lies inside of the file, and there are not more records than bytes.
        #[test]
        fn parse_records_handles_any_bytes(
            bytes in r#"([\[\]{}",:;0-9a-c\\ \r\n☕]|"sku"|"quantity"|null|true|1e9){0,60}"#,
            noise in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
            is_csv: bool,
        ) {
            let mut bytes = bytes.into_bytes();
            for (index, byte) in noise {
                if !bytes.is_empty() {
                    let offset = index.index(bytes.len());
                    bytes[offset] = byte;
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<u64> = text.split('\n').map(|line| line.chars().count() as u64).collect();
            let length = bytes.len();
            let mut issues = BTreeSet::new();
            let records = parse_records(Path::new("x"), is_csv, bytes, &mut issues);
            prop_assert!(records.len() <= length);
            let issue_positions = issues.iter().map(|issue| issue.position);
            let record_positions = records.iter().map(|record| record.position);
            for position in issue_positions.chain(record_positions) {
                let length = usize::try_from(position.line).ok().and_then(|line| lines.get(line - 1));
                let character = position.character.unwrap_or(1);
                prop_assert!(
                    length.is_some_and(|length| (1..=length + 1).contains(&character)),
                    "{}",
                    position
                );
            }
            prop_assert!(issues.iter().all(|issue| issue.column.as_deref() != Some("") && !issue.reason.is_empty()));
        }
    }
}
