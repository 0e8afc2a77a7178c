//! Files taken apart. Every value keeps its place.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::line_index::LineIndex;
use super::record::{ImportRecord, new_issue};
use super::{TextPosition, ValidationIssue, csv, json};
use crate::SeedError;

/// Reads the file of this name in a folder, whichever form it has; nothing where there is
/// none.
pub(super) fn read_records(
    folder: &Path,
    name: &str,
    issues: &mut BTreeSet<ValidationIssue>,
) -> Result<Option<Vec<ImportRecord>>, SeedError> {
    let mut found: Option<(PathBuf, Vec<ImportRecord>)> = None;
    for form in ["csv", "json"] {
        let path = folder.join(format!("{name}.{form}"));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SeedError::ReadFile { path, source }),
        };
        if let Some((other, _)) = &found {
            let reason = format!("{} exists as well", file_name(other));
            issues.insert(new_issue(&path, TextPosition::from_line(1), None, reason));
            continue;
        }
        let records = parse_records(&path, form == "csv", bytes, issues);
        found = Some((path, records));
    }
    Ok(found.map(|(_, records)| records))
}

/// The records of a file's bytes.
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
            let spot = LineIndex::new(&before).position_at(before.len());
            issues.insert(new_issue(path, spot, None, "not UTF-8"));
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

    pub(crate) fn read_as(form: &str, text: &[u8]) -> (Vec<ImportRecord>, Vec<String>) {
        let mut issues = BTreeSet::new();
        let path = PathBuf::from(format!("orders.{form}"));
        let records = parse_records(&path, form == "csv", text.to_vec(), &mut issues);
        let told =
            |it: &ValidationIssue| it.to_string().replacen(&format!("orders.{form}:"), "", 1);
        let issues = issues.iter().map(told);
        (records, issues.collect())
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
        let cell = |text: &str| Some(FieldValue::CsvCell(text.into()));
        assert_eq!(of_csv[0].get("client").cloned(), cell("Voss, Legal"));
        assert_eq!(of_csv[0].get("items").cloned(), cell("A:2;B:1"));
        assert_eq!(
            of_json[0].get("client"),
            Some(&FieldValue::JsonString("Voss, Legal".into()))
        );
        let items = [("A".to_owned(), "2".to_owned()), ("B".into(), "1".into())];
        assert_eq!(
            of_json[0].get("items"),
            Some(&FieldValue::Items(items.into()))
        );
        for record in [&of_csv[0], &of_json[0]] {
            assert_eq!(record.get("notes"), None);
        }
        assert_eq!(
            of_csv[0].issue_for_column("items", "x").position,
            TextPosition::from_line(2)
        );
        assert_eq!(
            of_json[0]
                .issue_for_column("items", "x")
                .position
                .to_string(),
            "3:12"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let (_, issues) = read_as("csv", b"a\nb\n\xff\n");
        assert_eq!(issues, ["3:1: not UTF-8"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// Whatever a file holds, it is read or refused with a line that it has, and never
        /// gives more than it holds.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in r#"([\[\]{}",:;0-9a-c\\ \r\n☕]|"sku"|"quantity"|null|true|1e9){0,60}"#,
            noise in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
            is_csv: bool,
        ) {
            let mut bytes = bytes.into_bytes();
            for (place, byte) in noise {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<u64> = text.split('\n').map(|line| line.chars().count() as u64).collect();
            let length = bytes.len();
            let mut issues = BTreeSet::new();
            let records = parse_records(Path::new("x"), is_csv, bytes, &mut issues);
            prop_assert!(records.len() <= length);
            for spot in issues.iter().map(|it| it.position).chain(records.iter().map(|it| it.position)) {
                let length = usize::try_from(spot.line).ok().and_then(|line| lines.get(line - 1));
                let letter = spot.character.unwrap_or(1);
                prop_assert!(length.is_some_and(|length| (1..=length + 1).contains(&letter)), "{}", spot);
            }
            prop_assert!(issues.iter().all(|it| it.column.as_deref() != Some("") && !it.reason.is_empty()));
        }
    }
}
