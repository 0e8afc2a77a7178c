//! Parses records of CSV (RFC 4180).
//!
//! The reader of the `csv` crate accepts any text: with an unclosed quote it reads the rest of
//! the file as one value. So quotes are checked first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::record::{Field, FieldValue, ImportRecord, new_issue};
use super::{TextPosition, ValidationIssue};

/// Parses the records of a text. Returns none if quotes are invalid, because the rows cannot be
/// determined.
pub(super) fn parse(
    path: &Path,
    text: &str,
    issues: &mut BTreeSet<ValidationIssue>,
) -> Vec<ImportRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_owned).collect(),
        Err(error) => {
            let (column, reason) = describe_error(&error);
            issues.insert(new_issue(
                path,
                TextPosition::from_line(1),
                Some(&column),
                reason,
            ));
            return Vec::new();
        }
    };
    let QuoteScan {
        errors,
        row_starts: lines,
    } = scan_quotes(text);
    if !errors.is_empty() {
        for error in errors {
            let number = (error.column + 1).to_string();
            // In the first row the names themselves are invalid.
            let name = names.get(error.column).filter(|_| error.row > 0);
            let name = name.filter(|name| !name.is_empty());
            let column = name.unwrap_or(&number);
            issues.insert(new_issue(
                path,
                TextPosition::from_line(error.line),
                Some(column),
                error.message,
            ));
        }
        return Vec::new();
    }
    if names.iter().all(String::is_empty) {
        issues.insert(new_issue(
            path,
            TextPosition::from_line(1),
            None,
            "expected a line of column names",
        ));
        return Vec::new();
    }
    let duplicate = names
        .iter()
        .enumerate()
        .find(|(index, name)| names[..*index].contains(name));
    let first = lines.first().copied().unwrap_or(1);
    if let Some((index, name)) = duplicate {
        let number = (index + 1).to_string();
        let name = if name.is_empty() { &number } else { name };
        issues.insert(new_issue(
            path,
            TextPosition::from_line(first),
            Some(name),
            "duplicate column",
        ));
    }
    let mut records = Vec::new();
    for (row, line) in reader.records().zip(lines.into_iter().skip(1)) {
        let position = TextPosition::from_line(line);
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let (column, reason) = describe_error(&error);
                issues.insert(new_issue(path, position, Some(&column), reason));
                continue;
            }
        };
        let fields = names.iter().zip(&row).map(|(name, text)| {
            let value = FieldValue::CsvCell(text.to_owned());
            (name.clone(), Field { value, position })
        });
        let fields: BTreeMap<String, Field> = fields.collect();
        records.push(ImportRecord::new(path.to_owned(), position, fields));
    }
    records
}

/// Returns the column of an error, and the reason.
fn describe_error(error: &csv::Error) -> (String, String) {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => (
            (expected_len.min(len) + 1).to_string(),
            format!("{len} columns instead of {expected_len} as in the first line"),
        ),
        _ => ("1".to_owned(), error.to_string()),
    }
}

/// The result of a scan of all quotes.
#[derive(Debug, Default)]
struct QuoteScan {
    /// Quotes that violate RFC 4180.
    errors: Vec<QuoteError>,
    /// The lines in which rows begin, without empty rows.
    row_starts: Vec<u64>,
}

/// A quote at an invalid position.
#[derive(Debug, PartialEq, Eq)]
struct QuoteError {
    line: u64,
    /// The row, from 0.
    row: usize,
    /// The column, from 0.
    column: usize,
    message: &'static str,
}

/// The state of the scan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanState {
    /// Before a value.
    FieldStart,
    /// In a value without quotes.
    Unquoted,
    /// In a value with quotes.
    Quoted,
    /// After a quote in a value with quotes: either the closing quote, or half of a doubled one.
    QuoteInQuoted,
}

fn scan_quotes(text: &str) -> QuoteScan {
    const UNCLOSED_QUOTE: &str = "unclosed quote at the beginning of a value";
    const QUOTE_IN_UNQUOTED: &str =
        "a quote inside a value: put the whole value in quotes, and double the quotes inside";
    const TEXT_AFTER_QUOTE: &str = "text after a closing quote: double the quotes inside a value";
    const BARE_CARRIAGE_RETURN: &str = "a carriage return without a line feed";
    let (mut errors, mut lines) = (Vec::new(), Vec::new());
    let mut is_blank = true;
    let (mut line, mut row, mut column) = (1, 0, 0);
    let mut opened = (1, 0, 0);
    let mut state = ScanState::FieldStart;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if is_blank && !matches!(character, '\r' | '\n') {
            is_blank = false;
            lines.push(line);
        }
        let mut add_error = |message| {
            errors.push(QuoteError {
                line,
                row,
                column,
                message,
            });
        };
        let ends_field = |character| matches!(character, ',' | '\n' | '\r');
        state = match (state, character) {
            (ScanState::Quoted, '"') => ScanState::QuoteInQuoted,
            (ScanState::Quoted, _) => ScanState::Quoted,
            (ScanState::QuoteInQuoted, '"') => ScanState::Quoted,
            (ScanState::QuoteInQuoted, character) if !ends_field(character) => {
                add_error(TEXT_AFTER_QUOTE);
                ScanState::Unquoted
            }
            (_, '\r') if characters.peek() == Some(&'\n') => state,
            (_, '\r') => {
                add_error(BARE_CARRIAGE_RETURN);
                ScanState::Unquoted
            }
            (_, ',' | '\n') => ScanState::FieldStart,
            (ScanState::FieldStart, '"') => {
                opened = (line, row, column);
                ScanState::Quoted
            }
            (ScanState::Unquoted, '"') => {
                add_error(QUOTE_IN_UNQUOTED);
                ScanState::Unquoted
            }
            _ => ScanState::Unquoted,
        };
        if state != ScanState::Quoted && character == ',' {
            column += 1;
        }
        if character == '\n' {
            line += 1;
            if state != ScanState::Quoted {
                row += usize::from(!is_blank);
                column = 0;
                is_blank = true;
            }
        }
    }
    if state == ScanState::Quoted {
        let (line, row, column) = opened;
        errors.push(QuoteError {
            line,
            row,
            column,
            message: UNCLOSED_QUOTE,
        });
    }
    // Report only one error per value.
    errors.dedup_by_key(|error| (error.line, error.column));
    QuoteScan {
        errors,
        row_starts: lines,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse::tests::read_as;
    use super::*;

    #[test]
    fn parse_reports_invalid_csv_with_its_position() {
        let open = "unclosed quote at the beginning of a value";
        for (text, expected) in [
            (
                "a,b\n1,2\n3\n",
                "3: 2: 1 columns instead of 2 as in the first line".to_owned(),
            ),
            ("a,a\n1,2\n", "1: a: duplicate column".to_owned()),
            ("", "1: expected a line of column names".to_owned()),
            ("a,notes\n1,x\n2,\"twelve pipes\n3,y\n4,z\n", format!("3: notes: {open}")),
            ("\"a,b\n1,2\n", format!("1: 1: {open}")),
            (
                "a,notes\n1,12\" pipes\n",
                "2: notes: a quote inside a value: put the whole value in quotes, and double the quotes inside".to_owned(),
            ),
            (
                "a,notes\n1,\"12\" pipes\"\n",
                "2: notes: text after a closing quote: double the quotes inside a value".to_owned(),
            ),
            (
                "a,b\r1,2\r",
                "1: 2: a carriage return without a line feed".to_owned(),
            ),
        ] {
            let (records, issues) = read_as("csv", text.as_bytes());
            assert_eq!(issues.first(), Some(&expected), "{text}");
            if expected.contains("quote") {
                assert!(records.is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn parse_accepts_quotes_at_valid_positions() {
        let text = "a,notes\r\n1,\"12\"\" pipes,\r\nand more\"\r\n\r\n2,\"\"\r\n3,'x'\r\n";
        let (records, issues) = read_as("csv", text.as_bytes());
        assert_eq!(issues, [""; 0]);
        let notes: Vec<_> = records
            .iter()
            .map(|record| record.get("notes").cloned())
            .collect();
        let cell = |text: &str| Some(FieldValue::CsvCell(text.to_owned()));
        assert_eq!(notes, [cell("12\" pipes,\r\nand more"), None, cell("'x'")]);
        assert_eq!(records[1].position, TextPosition::from_line(5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn parse_reads_the_rows_that_a_csv_writer_writes(
            rows in proptest::collection::vec(("[a-z\", \n☕']{0,12}", "[0-9\",\n]{0,6}"), 0..6),
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b"]).unwrap();
            for (a, b) in &rows {
                writer.write_record([a, b]).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let (records, issues) = read_as("csv", &text);
            prop_assert_eq!(issues, Vec::<String>::new());
            let cell = |record: &ImportRecord, name| match record.get(name) {
                Some(FieldValue::CsvCell(text)) => text.clone(),
                _ => String::new(),
            };
            let read: Vec<_> = records.iter().map(|record| (cell(record, "a"), cell(record, "b"))).collect();
            let trimmed = |text: &String| text.trim().to_owned();
            let expected: Vec<_> = rows.iter().map(|(a, b)| (trimmed(a), trimmed(b))).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn text_with_valid_quotes_has_a_record_for_each_row(text in "a,b\n([a\", ☕]{0,4},[a\"]{0,4}\n){0,5}") {
            let (records, issues) = read_as("csv", text.as_bytes());
            if issues.is_empty() {
                let quoted = text.split('"').skip(1).step_by(2);
                let inside: usize = quoted.map(|value| value.matches('\n').count()).sum();
                prop_assert_eq!(records.len(), text.matches('\n').count() - 1 - inside, "{}", text);
            }
        }
    }
}
