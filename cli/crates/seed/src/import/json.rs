//! Records of JSON: a list of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::ValidationIssue;
use super::line_index::LineIndex;
use super::record::{Field, FieldValue, ImportRecord, new_issue};

/// A value of JSON with all of its keys: one that is there twice is there twice.
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

/// Reads a list of objects. Each is read by itself, so that its place is known and one that
/// is wrong does not hide the next one.
pub(super) fn parse(
    path: &Path,
    text: &str,
    issues: &mut BTreeSet<ValidationIssue>,
) -> Vec<ImportRecord> {
    let mut records = Vec::new();
    let places = LineIndex::new(text);
    let wrong = |at: usize, reason: &str| new_issue(path, places.position_at(at), None, reason);
    let skip =
        |at: usize| at + text[at..].len() - text[at..].trim_start_matches(JSON_WHITESPACE).len();
    let mut at = skip(0);
    if !text[at..].starts_with('[') {
        issues.insert(wrong(
            at,
            "expected a list of objects, which begins with `[`",
        ));
        return records;
    }
    at = skip(at + 1);
    let mut is_first = true;
    while !(is_first && text[at..].starts_with(']')) {
        is_first = false;
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<JsonValue>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                // It counts from where it began to read, and in bytes.
                let lines = text[at..].split_inclusive('\n').map(str::len);
                let lines: usize = lines.take(error.line().saturating_sub(1)).sum();
                let end = at + lines + error.column().saturating_sub(1);
                let end = text.floor_char_boundary(end);
                issues.insert(wrong(end, &message_without_position(&error)));
                return records;
            }
            None => {
                issues.insert(wrong(at, "the list is not closed"));
                return records;
            }
        };
        let end = at + values.byte_offset();
        match value {
            JsonValue::Object(pairs) => {
                let spot = places.position_at(at);
                let mut fields = BTreeMap::new();
                for ((name, value), place) in pairs.into_iter().zip(key_offsets(&text[at..end])) {
                    let spot = places.position_at(at + place);
                    if fields.contains_key(&name) {
                        issues.insert(new_issue(path, spot, Some(&name), "duplicate key"));
                    }
                    let value = to_field_value(value);
                    fields.insert(
                        name,
                        Field {
                            value,
                            position: spot,
                        },
                    );
                }
                records.push(ImportRecord::new(path.to_owned(), spot, fields));
            }
            _ => {
                issues.insert(wrong(at, "not an object"));
            }
        }
        at = skip(end);
        match text[at..].chars().next() {
            Some(',') => at = skip(at + 1),
            Some(']') => break,
            _ => {
                issues.insert(wrong(at, "expected `,` or `]`"));
                return records;
            }
        }
    }
    let rest = skip(at + 1);
    if rest < text.len() {
        issues.insert(wrong(rest, "text after the list"));
    }
    records
}

/// What JSON takes for white space.
const JSON_WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Where the names of an object stand: the bytes at which they begin, in their order. The text
/// is one object, which was read already.
fn key_offsets(object: &str) -> Vec<usize> {
    let (mut places, mut depth) = (Vec::new(), 0_u32);
    let (mut is_name, mut in_text, mut is_escaped) = (false, false, false);
    for (at, byte) in object.bytes().enumerate() {
        if in_text {
            in_text = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                if is_name && depth == 1 {
                    places.push(at);
                }
                in_text = true;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // After `{` or `,` a name follows; after `:` a value.
        match byte {
            b'{' | b',' => is_name = true,
            b':' => is_name = false,
            _ => {}
        }
    }
    places
}

/// What serde_json says, without the place that it counts from the object on.
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

/// `{"sku": …, "quantity": …}`, and nothing else.
fn to_item(value: JsonValue) -> Option<(String, String)> {
    let JsonValue::Object(pairs) = value else {
        return None;
    };
    let (mut sku, mut quantity) = (None, None);
    for (name, value) in pairs {
        let known = match (name.as_str(), value) {
            ("sku", JsonValue::String(text)) => sku.replace(text),
            ("quantity", JsonValue::Number(number)) => quantity.replace(number.to_string()),
            _ => return None,
        };
        if known.is_some() {
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
    fn what_is_no_list_of_objects_is_told_with_its_place() {
        for (text, told) in [
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
            assert_eq!(issues, [told], "{text}");
        }
    }

    #[test]
    fn every_name_of_an_object_has_a_place_of_its_own() {
        // As a value, inside of another one, with an escape and after wide letters.
        let text = r#"{"a": "b", "c": {"b": ["x", "b"]}, "\"☕": 1, "b": [], "d\\": {}}"#;
        let found: Vec<&str> = key_offsets(text)
            .into_iter()
            .map(|at| &text[at..at + 3])
            .collect();
        assert_eq!(found, ["\"a\"", "\"c\"", "\"\\\"", "\"b\"", "\"d\\"]);
    }

    #[test]
    fn a_file_of_one_line_tells_the_place_in_it() {
        let text = r#"[{"a": "☕☕"}, {"b": "a", "a": 2}, {"ü": 1, "a": 3, "a": 4}]"#;
        let (records, issues) = read_as("json", text.as_bytes());
        let spots: Vec<String> = records.iter().map(|it| it.position.to_string()).collect();
        assert_eq!(spots, ["1:2", "1:15", "1:35"]);
        let told = |at: usize| records[at].issue_for_column("a", "x").position.to_string();
        assert_eq!([told(0), told(1)], ["1:3", "1:26"]);
        assert_eq!(issues, ["1:52: a: duplicate key"]);
        // In the order of the file, and not of the texts.
        let (_, issues) = read_as("json", b"[0,         0]");
        assert_eq!(issues, ["1:2: not an object", "1:13: not an object"]);
    }

    #[test]
    fn values_keep_what_they_are() {
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
