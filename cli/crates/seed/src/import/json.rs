//! Parses records of JSON: a list of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::ValidationIssue;
use super::line_index::LineIndex;
use super::record::{Field, FieldValue, ImportRecord, new_issue};

/// A JSON value that keeps duplicate keys.
#[derive(Debug, Clone, PartialEq)]
enum JsonValue {
    Null,
    Bool,
    Number(Number),
    String(String),
    Array(Vec<JsonValue>),
    Object(Vec<(String, JsonValue)>),
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;

        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = JsonValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<JsonValue, E> {
                Ok(JsonValue::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<JsonValue, E> {
                Ok(JsonValue::Bool)
            }

            fn visit_i64<E>(self, number: i64) -> Result<JsonValue, E> {
                Ok(JsonValue::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<JsonValue, E> {
                Ok(JsonValue::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<JsonValue, E> {
                Ok(Number::from_f64(number).map_or(JsonValue::Null, JsonValue::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
                Ok(JsonValue::String(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonValue, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(JsonValue::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(JsonValue::Object(pairs))
            }
        }

        deserializer.deserialize_any(JsonVisitor)
    }
}

/// Parses a list of objects. Each object is parsed separately, so that its position is known and
/// an invalid object does not hide the issues of the next one.
pub(super) fn parse(
    path: &Path,
    text: &str,
    issues: &mut BTreeSet<ValidationIssue>,
) -> Vec<ImportRecord> {
    let mut records = Vec::new();
    let lines = LineIndex::new(text);
    let issue_at =
        |offset: usize, reason: &str| new_issue(path, lines.position_at(offset), None, reason);
    let skip_whitespace = |offset: usize| {
        let rest = &text[offset..];
        offset + rest.len() - rest.trim_start_matches(JSON_WHITESPACE).len()
    };
    let mut offset = skip_whitespace(0);
    if !text[offset..].starts_with('[') {
        issues.insert(issue_at(
            offset,
            "expected a list of objects, which begins with `[`",
        ));
        return records;
    }
    offset = skip_whitespace(offset + 1);
    let mut is_first = true;
    while !(is_first && text[offset..].starts_with(']')) {
        is_first = false;
        let mut values =
            serde_json::Deserializer::from_str(&text[offset..]).into_iter::<JsonValue>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                // serde_json counts in bytes, from the beginning of the object.
                let lengths = text[offset..].split_inclusive('\n').map(str::len);
                let lines_length: usize = lengths.take(error.line().saturating_sub(1)).sum();
                let end = offset + lines_length + error.column().saturating_sub(1);
                let end = text.floor_char_boundary(end);
                issues.insert(issue_at(end, &message_without_position(&error)));
                return records;
            }
            None => {
                issues.insert(issue_at(offset, "the list is not closed"));
                return records;
            }
        };
        let end = offset + values.byte_offset();
        match value {
            JsonValue::Object(pairs) => {
                let object_position = lines.position_at(offset);
                let mut fields = BTreeMap::new();
                for ((name, value), key_offset) in
                    pairs.into_iter().zip(key_offsets(&text[offset..end]))
                {
                    let position = lines.position_at(offset + key_offset);
                    if fields.contains_key(&name) {
                        issues.insert(new_issue(path, position, Some(&name), "duplicate key"));
                    }
                    let value = to_field_value(value);
                    fields.insert(name, Field { value, position });
                }
                records.push(ImportRecord::new(path.to_owned(), object_position, fields));
            }
            _ => {
                issues.insert(issue_at(offset, "not an object"));
            }
        }
        offset = skip_whitespace(end);
        match text[offset..].chars().next() {
            Some(',') => offset = skip_whitespace(offset + 1),
            Some(']') => break,
            _ => {
                issues.insert(issue_at(offset, "expected `,` or `]`"));
                return records;
            }
        }
    }
    let rest = skip_whitespace(offset + 1);
    if rest < text.len() {
        issues.insert(issue_at(rest, "text after the list"));
    }
    records
}

/// The whitespace characters of JSON.
const JSON_WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Returns the byte offsets of the keys of an object, in order. The text is one valid object.
fn key_offsets(object: &str) -> Vec<usize> {
    let (mut offsets, mut depth) = (Vec::new(), 0_u32);
    let (mut is_key, mut in_string, mut is_escaped) = (false, false, false);
    for (offset, byte) in object.bytes().enumerate() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                if is_key && depth == 1 {
                    offsets.push(offset);
                }
                in_string = true;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // After `{` or `,` a key follows; after `:` a value.
        match byte {
            b'{' | b',' => is_key = true,
            b':' => is_key = false,
            _ => {}
        }
    }
    offsets
}

/// Returns the message of serde_json without its position, which is relative to the object.
fn message_without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].to_owned()
}

fn to_field_value(value: JsonValue) -> FieldValue {
    match value {
        JsonValue::Null => FieldValue::CsvCell(String::new()),
        JsonValue::Bool => FieldValue::Unsupported("true or false"),
        JsonValue::Number(number) => FieldValue::JsonNumber(number.to_string()),
        JsonValue::String(text) => FieldValue::JsonString(text),
        JsonValue::Array(items) => items
            .into_iter()
            .map(to_item)
            .collect::<Option<_>>()
            .map_or(
                FieldValue::Unsupported("a list of something else"),
                FieldValue::Items,
            ),
        JsonValue::Object(_) => FieldValue::Unsupported("an object"),
    }
}

/// Converts `{"sku": …, "quantity": …}`. Returns `None` for any other value.
fn to_item(value: JsonValue) -> Option<(String, String)> {
    let JsonValue::Object(pairs) = value else {
        return None;
    };
    let (mut sku, mut quantity) = (None, None);
    for (name, value) in pairs {
        let previous = match (name.as_str(), value) {
            ("sku", JsonValue::String(text)) => sku.replace(text),
            ("quantity", JsonValue::Number(number)) => quantity.replace(number.to_string()),
            _ => return None,
        };
        if previous.is_some() {
            return None;
        }
    }
    Some((sku?, quantity?))
}

#[cfg(test)]
mod tests {
    use super::super::parse::tests::read_as;
    use super::*;

    #[test]
    fn parse_reports_invalid_json_with_its_position() {
        for (text, expected) in [
            (
                "{}",
                "1:1: expected a list of objects, which begins with `[`",
            ),
            ("[\n {\"a\": 1},\n {\"a\" 2}]", "3:7: expected `:`"),
            ("[{\"a\": 1}\n {\"a\": 2}]", "2:2: expected `,` or `]`"),
            ("[1]", "1:2: not an object"),
            ("[]]", "1:3: text after the list"),
            ("[", "1:2: the list is not closed"),
            ("[{},]", "1:5: expected value"),
            ("[{\"a\": 1,\n\"a\": 2}]", "2:1: a: duplicate key"),
            ("[{\"\\u0061\": 1, \"a\": 2}]", "1:16: a: duplicate key"),
            ("[{\"a\": 1e999}]", "1:12: number out of range"),
        ] {
            let (_, issues) = read_as("json", text.as_bytes());
            assert_eq!(issues, [expected], "{text}");
        }
    }

    #[test]
    fn key_offsets_ignores_values_and_nested_keys() {
        // Keys that are equal to a value or to a nested key, escaped, and after wide characters.
        let text = r#"{"a": "b", "c": {"b": ["x", "b"]}, "\"☕": 1, "b": [], "d\\": {}}"#;
        let keys: Vec<&str> = key_offsets(text)
            .into_iter()
            .map(|offset| &text[offset..offset + 3])
            .collect();
        assert_eq!(keys, ["\"a\"", "\"c\"", "\"\\\"", "\"b\"", "\"d\\"]);
    }

    #[test]
    fn positions_in_a_file_of_one_line_include_the_character() {
        let text = r#"[{"a": "☕☕"}, {"b": "a", "a": 2}, {"ü": 1, "a": 3, "a": 4}]"#;
        let (records, issues) = read_as("json", text.as_bytes());
        let positions: Vec<String> = records
            .iter()
            .map(|record| record.position.to_string())
            .collect();
        assert_eq!(positions, ["1:2", "1:15", "1:35"]);
        let position_of_a = |index: usize| {
            let issue = records[index].issue_for_column("a", "x");
            issue.position.to_string()
        };
        assert_eq!([position_of_a(0), position_of_a(1)], ["1:3", "1:26"]);
        assert_eq!(issues, ["1:52: a: duplicate key"]);
        // Sorted by position, not by text.
        let (_, issues) = read_as("json", b"[0,         0]");
        assert_eq!(issues, ["1:2: not an object", "1:13: not an object"]);
    }

    #[test]
    fn parse_converts_every_type_of_value() {
        let text = r#"[{"a": {"b": 1}, "c": true, "d": 12.50, "e": "x", "f": [1],
            "g": [{"sku": "A", "quantity": 1, "quantity": 2}], "h": [{"sku": "A;B:1", "quantity": 2}]}]"#;
        let (records, issues) = read_as("json", text.as_bytes());
        assert_eq!(issues, [""; 0]);
        let get = |name| records[0].get(name).cloned();
        assert_eq!(get("a"), Some(FieldValue::Unsupported("an object")));
        assert_eq!(get("c"), Some(FieldValue::Unsupported("true or false")));
        assert_eq!(get("d"), Some(FieldValue::JsonNumber("12.5".into())));
        assert_eq!(get("e"), Some(FieldValue::JsonString("x".into())));
        assert_eq!(
            get("f"),
            Some(FieldValue::Unsupported("a list of something else"))
        );
        assert_eq!(
            get("g"),
            Some(FieldValue::Unsupported("a list of something else"))
        );
        let items = vec![("A;B:1".to_owned(), "2".to_owned())];
        assert_eq!(get("h"), Some(FieldValue::Items(items)));
    }
}
