//! Records of CSV, as RFC 4180 has it.
//!
//! The reader of the `csv` crate takes any text: a quote that nothing closes swallows the
//! rest of the file. So quotes are checked first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::record::{Field, FieldValue, ImportRecord, new_issue};
use super::{TextPosition, ValidationIssue};

/// Reads the records of a text. Where its quotes are wrong there are none: what is a row
/// and what is not can't be told.
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
        errors: faults,
        row_starts: lines,
    } = scan_quotes(text);
    if !faults.is_empty() {
        for fault in faults {
            let number = (fault.column + 1).to_string();
            // The names themselves may be what is wrong.
            let name = names.get(fault.column).filter(|_| fault.row > 0);
            let name = name.filter(|name| !name.is_empty());
            let column = name.unwrap_or(&number);
            issues.insert(new_issue(
                path,
                TextPosition::from_line(fault.line),
                Some(column),
                fault.message,
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
    let twice = names
        .iter()
        .enumerate()
        .find(|(at, name)| names[..*at].contains(name));
    let first = lines.first().copied().unwrap_or(1);
    if let Some((at, name)) = twice {
        let number = (at + 1).to_string();
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
        let spot = TextPosition::from_line(line);
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let (column, reason) = describe_error(&error);
                issues.insert(new_issue(path, spot, Some(&column), reason));
                continue;
            }
        };
        let fields = names.iter().zip(&row).map(|(name, text)| {
            let value = FieldValue::CsvCell(text.to_owned());
            (
                name.clone(),
                Field {
                    value,
                    position: spot,
                },
            )
        });
        let fields: BTreeMap<String, Field> = fields.collect();
        records.push(ImportRecord::new(path.to_owned(), spot, fields));
    }
    records
}

/// The column and what is wrong with it.
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

/// What a look at every quote has found.
#[derive(Debug, Default)]
struct QuoteScan {
    /// Quotes that are not where RFC 4180 has them.
    errors: Vec<QuoteError>,
    /// Where rows begin, those without anything left out.
    row_starts: Vec<u64>,
}

/// A quote that is not where it may be.
#[derive(Debug, PartialEq, Eq)]
struct QuoteError {
    line: u64,
    /// The row, from 0.
    row: usize,
    /// The column, from 0.
    column: usize,
    message: &'static str,
}

/// Where the scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanState {
    /// Before a value.
    FieldStart,
    /// In a value without quotes.
    Unquoted,
    /// In a value with quotes.
    Quoted,
    /// After a quote in a value with quotes: the end of it, or half of a doubled one.
    QuoteInQuoted,
}

fn scan_quotes(text: &str) -> QuoteScan {
    const UNCLOSED_QUOTE: &str = "unclosed quote at the beginning of a value";
    const QUOTE_IN_UNQUOTED: &str =
        "a quote inside a value: put the whole value in quotes, and double the quotes inside";
    const TEXT_AFTER_QUOTE: &str = "text after a closing quote: double the quotes inside a value";
    const BARE_CARRIAGE_RETURN: &str = "a carriage return without a line feed";
    let (mut faults, mut lines) = (Vec::new(), Vec::new());
    let mut is_blank = true;
    let (mut line, mut row, mut column) = (1, 0, 0);
    let mut opened = (1, 0, 0);
    let mut at = ScanState::FieldStart;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if is_blank && !matches!(letter, '\r' | '\n') {
            is_blank = false;
            lines.push(line);
        }
        let mut fault = |what| {
            faults.push(QuoteError {
                line,
                row,
                column,
                message: what,
            });
        };
        let ends = |letter| matches!(letter, ',' | '\n' | '\r');
        at = match (at, letter) {
            (ScanState::Quoted, '"') => ScanState::QuoteInQuoted,
            (ScanState::Quoted, _) => ScanState::Quoted,
            (ScanState::QuoteInQuoted, '"') => ScanState::Quoted,
            (ScanState::QuoteInQuoted, letter) if !ends(letter) => {
                fault(TEXT_AFTER_QUOTE);
                ScanState::Unquoted
            }
            (_, '\r') if letters.peek() == Some(&'\n') => at,
            (_, '\r') => {
                fault(BARE_CARRIAGE_RETURN);
                ScanState::Unquoted
            }
            (_, ',' | '\n') => ScanState::FieldStart,
            (ScanState::FieldStart, '"') => {
                opened = (line, row, column);
                ScanState::Quoted
            }
            (ScanState::Unquoted, '"') => {
                fault(QUOTE_IN_UNQUOTED);
                ScanState::Unquoted
            }
            _ => ScanState::Unquoted,
        };
        if at != ScanState::Quoted && letter == ',' {
            column += 1;
        }
        if letter == '\n' {
            line += 1;
            if at != ScanState::Quoted {
                row += usize::from(!is_blank);
                column = 0;
                is_blank = true;
            }
        }
    }
    if at == ScanState::Quoted {
        let (line, row, column) = opened;
        faults.push(QuoteError {
            line,
            row,
            column,
            message: UNCLOSED_QUOTE,
        });
    }
    // One of a value is enough.
    faults.dedup_by_key(|fault| (fault.line, fault.column));
    QuoteScan {
        errors: faults,
        row_starts: lines,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse::tests::read_as;
    use super::*;

    #[test]
    fn what_is_no_csv_is_told_with_its_place() {
        let open = "unclosed quote at the beginning of a value";
        for (text, told) in [
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
            assert_eq!(issues.first(), Some(&told), "{text}");
            if told.contains("quote") {
                assert!(records.is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn quotes_that_are_where_they_may_be_are_taken() {
        let text = "a,notes\r\n1,\"12\"\" pipes,\r\nand more\"\r\n\r\n2,\"\"\r\n3,'x'\r\n";
        let (records, issues) = read_as("csv", text.as_bytes());
        assert_eq!(issues, [""; 0]);
        let notes: Vec<_> = records.iter().map(|it| it.get("notes").cloned()).collect();
        let cell = |text: &str| Some(FieldValue::CsvCell(text.to_owned()));
        assert_eq!(notes, [cell("12\" pipes,\r\nand more"), None, cell("'x'")]);
        assert_eq!(records[1].position, TextPosition::from_line(5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// What a writer of CSV writes is read as it was, row by row.
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec(("[a-z\", \n☕']{0,12}", "[0-9\",\n]{0,6}"), 0..6),
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b"]).unwrap();
            for (one, other) in &rows {
                writer.write_record([one, other]).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let (records, issues) = read_as("csv", &text);
            prop_assert_eq!(issues, Vec::<String>::new());
            let cell = |record: &ImportRecord, name| match record.get(name) {
                Some(FieldValue::CsvCell(text)) => text.clone(),
                _ => String::new(),
            };
            let read: Vec<_> = records.iter().map(|it| (cell(it, "a"), cell(it, "b"))).collect();
            let trimmed = |text: &String| text.trim().to_owned();
            let expected: Vec<_> = rows.iter().map(|(one, other)| (trimmed(one), trimmed(other))).collect();
            prop_assert_eq!(read, expected);
        }

        /// No row is swallowed: a text whose quotes are right has a record for each row.
        #[test]
        fn no_row_is_swallowed(text in "a,b\n([a\", ☕]{0,4},[a\"]{0,4}\n){0,5}") {
            let (records, issues) = read_as("csv", text.as_bytes());
            if issues.is_empty() {
                let quoted = text.split('"').skip(1).step_by(2);
                let inside: usize = quoted.map(|it| it.matches('\n').count()).sum();
                prop_assert_eq!(records.len(), text.matches('\n').count() - 1 - inside, "{}", text);
            }
        }
    }
}
