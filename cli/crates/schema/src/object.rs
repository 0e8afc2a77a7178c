//! The objects of a schema, and the format of snapshots.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::sql;

/// An object of a schema, such as a table, an index or a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaObject {
    /// The kind of the object, e.g. `TABLE`.
    pub kind: String,
    /// The name, which is unique within the kind.
    pub name: String,
    /// The definition in SQL or JSON.
    pub text: String,
}

/// The format of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotFormat {
    /// A schema of the database, in SQL.
    Sql,
    /// Objects of the database outside its schemas, in SQL.
    Database,
    /// Any other document, in JSON.
    Json,
}

impl SnapshotFormat {
    /// Returns the extension of files in this format.
    #[must_use]
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Sql | Self::Database => "sql",
            Self::Json => "json",
        }
    }
}

/// A schema, the topology of the broker, or the realm, as a list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaDocument {
    /// The name, from which the file name is derived.
    pub name: String,
    /// The format of its snapshot.
    pub format: SnapshotFormat,
    /// The objects.
    pub objects: Vec<SchemaObject>,
}

/// The beginning of the heading of an object in an SQL file.
const OBJECT_HEADING: &str = "--: ";

impl SchemaDocument {
    /// Returns whether both describe the same schema, topology or realm.
    #[must_use]
    pub fn is_same_document(&self, other: &Self) -> bool {
        self.name == other.name && self.format == other.format
    }

    /// Returns the text of the snapshot, which is equal for equal objects.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        match self.format {
            SnapshotFormat::Sql | SnapshotFormat::Database => self.to_sql(),
            SnapshotFormat::Json => self.to_json(),
        }
    }

    fn to_sql(&self) -> String {
        let mut text = match self.format {
            SnapshotFormat::Database => {
                "-- The database besides its schemas, as `dm schema snapshot` wrote it.\n"
                    .to_owned()
            }
            _ => format!(
                "-- Schema {}, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.\n",
                escape_name(&self.name)
            ),
        };
        for object in &self.objects {
            let (kind, name) = (&object.kind, escape_name(&object.name));
            text.push_str(&format!(
                "\n{OBJECT_HEADING}{kind}: {name}\n{}\n",
                object.text
            ));
        }
        text
    }

    fn to_json(&self) -> String {
        let mut kinds: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for object in &self.objects {
            let value = serde_json::from_str(&object.text).unwrap_or(Value::Null);
            let kind = kinds.entry(&object.kind).or_default();
            kind.insert(object.name.clone(), value);
        }
        let mut text = serde_json::to_string_pretty(&kinds).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Parses a snapshot. Returns `None` if the text is not a snapshot.
    #[must_use]
    pub(crate) fn parse(name: &str, format: SnapshotFormat, text: &str) -> Option<Self> {
        let objects = match format {
            SnapshotFormat::Sql | SnapshotFormat::Database => parse_sql(text)?,
            SnapshotFormat::Json => parse_json(text)?,
        };
        Some(Self {
            name: name.to_owned(),
            format,
            objects,
        })
    }

    /// Returns a document of JSON values with their kinds and names.
    #[must_use]
    pub(crate) fn from_values(name: &str, values: Vec<(String, String, Value)>) -> Self {
        let mut objects: Vec<SchemaObject> = values
            .into_iter()
            .map(|(kind, name, value)| SchemaObject {
                kind,
                name,
                text: to_pretty_json(value),
            })
            .collect();
        let key = |object: &SchemaObject| {
            (
                object.kind.clone(),
                object.name.clone(),
                object.text.clone(),
            )
        };
        objects.sort_by_key(key);
        // Names must be unique in the file.
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for object in &mut objects {
            let count = counts
                .entry((object.kind.clone(), object.name.clone()))
                .or_default();
            *count += 1;
            if *count > 1 {
                object.name = format!("{} #{count}", object.name);
            }
        }
        Self {
            name: name.to_owned(),
            format: SnapshotFormat::Json,
            objects,
        }
    }
}

fn to_pretty_json(value: Value) -> String {
    serde_json::to_string_pretty(&sort_keys(value)).unwrap_or_default()
}

/// Sorts the keys of every object in a value.
pub(super) fn sort_keys(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map
                .into_iter()
                .map(|(key, value)| (key, sort_keys(value)))
                .collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sort_keys).collect()),
        other => other,
    }
}

/// Escapes a name so that it fits on one line.
fn escape_name(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Returns the name of an escaped line.
fn unescape_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => name.push('\n'),
                Some('r') => name.push('\r'),
                Some(other) => name.push(other),
                None => name.push('\\'),
            },
            other => name.push(other),
        }
    }
    name
}

/// Parses the objects of an SQL file. Text in a string or in a quoted name is never a heading. Returns
/// `None` if a token is unterminated or a statement precedes the first heading.
fn parse_sql(text: &str) -> Option<Vec<SchemaObject>> {
    let mut headings = Vec::new();
    for token in sql::tokenize(text) {
        let begins_line = token.start == 0 || text[..token.start].ends_with('\n');
        match token.kind {
            sql::TokenKind::Unterminated => return None,
            sql::TokenKind::Comment if begins_line && token.text.starts_with(OBJECT_HEADING) => {
                headings.push(token);
            }
            sql::TokenKind::Whitespace | sql::TokenKind::Comment => {}
            _ if headings.is_empty() => return None,
            _ => {}
        }
    }
    let ends = headings.iter().skip(1).map(|heading| heading.start);
    let ends = ends.chain([text.len()]);
    let objects = headings.iter().zip(ends).map(|(heading, end)| {
        let line = heading.text.trim_end_matches('\r');
        let (kind, name) = line.strip_prefix(OBJECT_HEADING)?.split_once(": ")?;
        let start = heading.start + heading.text.len();
        Some(SchemaObject {
            kind: kind.to_owned(),
            name: unescape_name(name),
            text: text[start..end]
                .trim_start_matches('\r')
                .strip_prefix('\n')
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
        })
    });
    objects.collect()
}

fn parse_json(text: &str) -> Option<Vec<SchemaObject>> {
    let kinds: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(text).ok()?;
    let objects = kinds.into_iter().flat_map(|(kind, values)| {
        values.into_iter().map(move |(name, value)| SchemaObject {
            kind: kind.clone(),
            name,
            text: to_pretty_json(value),
        })
    });
    Some(objects.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn rendered_documents_are_parsed_back() {
        let sql = SchemaDocument {
            name: "orders".into(),
            format: SnapshotFormat::Sql,
            objects: vec![
                SchemaObject {
                    kind: "SEQUENCE OWNED BY".into(),
                    name: "a_seq".into(),
                    text: "ALTER SEQUENCE orders.a_seq\n\n    OWNED BY orders.a.id;".into(),
                },
                SchemaObject {
                    kind: "TABLE".into(),
                    name: "a".into(),
                    text: "CREATE TABLE orders.a (\n    id text\n);".into(),
                },
            ],
        };
        let json = SchemaDocument::from_values(
            "broker",
            vec![
                (
                    "queue".into(),
                    "b".into(),
                    json!({"z": 1, "a": [{"y": 1, "x": 2}]}),
                ),
                ("queue".into(), "a".into(), json!({})),
            ],
        );
        for document in [sql, json] {
            let text = document.render();
            let read = SchemaDocument::parse(&document.name, document.format, &text).unwrap();
            assert_eq!(read, document, "{text}");
            assert_eq!(read.render(), text);
        }
    }

    #[test]
    fn headings_in_strings_and_names_are_ignored() {
        let object = |kind: &str, name: &str, text: &str| SchemaObject {
            kind: kind.into(),
            name: name.into(),
            text: text.into(),
        };
        let document = SchemaDocument {
            name: "orders".into(),
            format: SnapshotFormat::Sql,
            objects: vec![
                object(
                    "FUNCTION",
                    "f()",
                    "CREATE FUNCTION f() RETURNS void AS $_$\n--: TABLE: hello\nSET default_tablespace = '';\n\\foo\n\n\n\n$_$;",
                ),
                object(
                    "ROW SECURITY",
                    "z",
                    "ALTER TABLE z ENABLE ROW LEVEL SECURITY;",
                ),
                object(
                    "TABLE",
                    "ATTACH x: y\n--: TABLE: z\\n",
                    "CREATE TABLE \"a\n--: b\" ();",
                ),
                object("TABLE ATTACH", "x", "ALTER TABLE x;"),
            ],
        };
        let text = document.render();
        let read = SchemaDocument::parse("orders", SnapshotFormat::Sql, &text).unwrap();
        assert_eq!(read, document, "{text}");
        for cut in ["--: TABLE: a\nSELECT 'open", "SELECT 1;\n--: TABLE: a\n"] {
            assert_eq!(
                SchemaDocument::parse("orders", SnapshotFormat::Sql, cut),
                None,
                "{cut}"
            );
        }
    }

    #[test]
    fn objects_with_equal_names_are_numbered() {
        let values = ["a", "b", "c"].map(|value| ("binding".into(), "x".into(), json!(value)));
        let document = SchemaDocument::from_values("broker", values.into());
        let read =
            SchemaDocument::parse("broker", SnapshotFormat::Json, &document.render()).unwrap();
        let names: Vec<&str> = read
            .objects
            .iter()
            .map(|object| object.name.as_str())
            .collect();
        assert_eq!(names, ["x", "x #2", "x #3"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// For objects with any names and texts.
        #[test]
        fn rendered_objects_are_parsed_back(
            objects in proptest::collection::vec(
                ("[A-Z]{1,6}( [A-Z]{1,6})?", "[ -~\\n\\ré]{0,16}",
                 proptest::collection::vec(sql::tests::token_texts(), 1..6)),
                0..6,
            ),
        ) {
            let objects = objects.into_iter().map(|(kind, name, texts)| SchemaObject {
                kind,
                name,
                text: texts.join(" ").trim().to_owned(),
            });
            let document = SchemaDocument {
                name: "orders".into(),
                format: SnapshotFormat::Sql,
                objects: objects.collect(),
            };
            let text = document.render();
            let read = SchemaDocument::parse("orders", SnapshotFormat::Sql, &text);
            prop_assert_eq!(read, Some(document), "{}", text);
        }

        /// A damaged snapshot is refused, or parsed into objects that can be rendered again.
        #[test]
        fn damaged_snapshot_is_refused_or_parsed(text in "(--: |TABLE: |'|\\$\\$|\"|/\\*|\n|a|;| ){0,40}") {
            if let Some(read) = SchemaDocument::parse("orders", SnapshotFormat::Sql, &text) {
                let again = SchemaDocument::parse("orders", SnapshotFormat::Sql, &read.render());
                prop_assert_eq!(again, Some(read));
            }
        }
    }
}
