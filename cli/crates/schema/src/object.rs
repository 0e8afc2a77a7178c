//! The parts of a schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::sql;

/// A part: a table, an index, a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is, e.g. `TABLE`.
    pub kind: String,
    /// Its name, of which there is one a kind.
    pub name: String,
    /// What it is like: SQL, or JSON.
    pub text: String,
}

/// How a snapshot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A database's schema.
    Sql,
    /// What a database has besides its schemas.
    Database,
    /// Anything else.
    Json,
}

impl Form {
    /// What files of it end with.
    #[must_use]
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Sql | Self::Database => "sql",
            Self::Json => "json",
        }
    }
}

/// A schema, or what else is described by its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name, which is its file's.
    pub name: String,
    /// How it is written.
    pub form: Form,
    /// Its parts.
    pub objects: Vec<Object>,
}

/// What a part begins with in a file of SQL.
const MARK: &str = "--: ";

impl Document {
    /// Whether both are about the same.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.name == other.name && self.form == other.form
    }

    /// The text of its snapshot: the same for the same parts.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        match self.form {
            Form::Sql | Form::Database => self.as_sql(),
            Form::Json => self.as_json(),
        }
    }

    fn as_sql(&self) -> String {
        let mut text = match self.form {
            Form::Database => {
                "-- The database besides its schemas, as `dm schema snapshot` wrote it.\n"
                    .to_owned()
            }
            _ => format!(
                "-- Schema {}, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.\n",
                escaped(&self.name)
            ),
        };
        for object in &self.objects {
            let (kind, name) = (&object.kind, escaped(&object.name));
            text.push_str(&format!("\n{MARK}{kind}: {name}\n{}\n", object.text));
        }
        text
    }

    fn as_json(&self) -> String {
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

    /// Reads a snapshot; nothing where it is not one.
    #[must_use]
    pub(crate) fn parse(name: &str, form: Form, text: &str) -> Option<Self> {
        let objects = match form {
            Form::Sql | Form::Database => of_sql(text)?,
            Form::Json => of_json(text)?,
        };
        Some(Self {
            name: name.to_owned(),
            form,
            objects,
        })
    }

    /// A document of JSON values by kind and by name.
    #[must_use]
    pub(crate) fn of_values(name: &str, values: Vec<(String, String, Value)>) -> Self {
        let mut objects: Vec<Object> = values
            .into_iter()
            .map(|(kind, name, value)| Object {
                kind,
                name,
                text: pretty(value),
            })
            .collect();
        let key = |it: &Object| (it.kind.clone(), it.name.clone(), it.text.clone());
        objects.sort_by_key(key);
        // Each has a name of its own in the file.
        let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
        for object in &mut objects {
            let count = seen
                .entry((object.kind.clone(), object.name.clone()))
                .or_default();
            *count += 1;
            if *count > 1 {
                object.name = format!("{} #{count}", object.name);
            }
        }
        Self {
            name: name.to_owned(),
            form: Form::Json,
            objects,
        }
    }
}

fn pretty(value: Value) -> String {
    serde_json::to_string_pretty(&sorted(value)).unwrap_or_default()
}

/// The same value with the keys of every object in their order.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// A name on one line.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The name that a line stands for.
fn unescaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
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

/// The objects of a file. What stands in a string or in a quoted name is no heading, whatever
/// it says. Nothing where the text does not end, or something comes before the first heading.
fn of_sql(text: &str) -> Option<Vec<Object>> {
    let mut headings = Vec::new();
    for token in sql::tokens(text) {
        let begins_line = token.start == 0 || text[..token.start].ends_with('\n');
        match token.kind {
            sql::Kind::Open => return None,
            sql::Kind::Comment if begins_line && token.text.starts_with(MARK) => {
                headings.push(token);
            }
            sql::Kind::Space | sql::Kind::Comment => {}
            _ if headings.is_empty() => return None,
            _ => {}
        }
    }
    let ends = headings.iter().skip(1).map(|it| it.start);
    let ends = ends.chain([text.len()]);
    let objects = headings.iter().zip(ends).map(|(heading, end)| {
        let told = heading.text.trim_end_matches('\r');
        let (kind, name) = told.strip_prefix(MARK)?.split_once(": ")?;
        let begin = heading.start + heading.text.len();
        Some(Object {
            kind: kind.to_owned(),
            name: unescaped(name),
            text: text[begin..end]
                .trim_start_matches('\r')
                .strip_prefix('\n')
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
        })
    });
    objects.collect()
}

fn of_json(text: &str) -> Option<Vec<Object>> {
    let kinds: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(text).ok()?;
    let objects = kinds.into_iter().flat_map(|(kind, values)| {
        values.into_iter().map(move |(name, value)| Object {
            kind: kind.clone(),
            name,
            text: pretty(value),
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
    fn what_is_written_can_be_read() {
        let sql = Document {
            name: "orders".into(),
            form: Form::Sql,
            objects: vec![
                Object {
                    kind: "SEQUENCE OWNED BY".into(),
                    name: "a_seq".into(),
                    text: "ALTER SEQUENCE orders.a_seq\n\n    OWNED BY orders.a.id;".into(),
                },
                Object {
                    kind: "TABLE".into(),
                    name: "a".into(),
                    text: "CREATE TABLE orders.a (\n    id text\n);".into(),
                },
            ],
        };
        let json = Document::of_values(
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
            let read = Document::parse(&document.name, document.form, &text).unwrap();
            assert_eq!(read, document, "{text}");
            assert_eq!(read.render(), text);
        }
    }

    #[test]
    fn what_stands_in_a_string_is_no_heading() {
        let object = |kind: &str, name: &str, text: &str| Object {
            kind: kind.into(),
            name: name.into(),
            text: text.into(),
        };
        let document = Document {
            name: "orders".into(),
            form: Form::Sql,
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
        let read = Document::parse("orders", Form::Sql, &text).unwrap();
        assert_eq!(read, document, "{text}");
        for cut in ["--: TABLE: a\nSELECT 'open", "SELECT 1;\n--: TABLE: a\n"] {
            assert_eq!(Document::parse("orders", Form::Sql, cut), None, "{cut}");
        }
    }

    #[test]
    fn two_of_one_name_are_both_there() {
        let values = ["a", "b", "c"].map(|it| ("binding".into(), "x".into(), json!(it)));
        let document = Document::of_values("broker", values.into());
        let read = Document::parse("broker", Form::Json, &document.render()).unwrap();
        let names: Vec<&str> = read.objects.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["x", "x #2", "x #3"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever objects are called and whatever their texts say, a snapshot holds them.
        #[test]
        fn a_snapshot_holds_any_objects(
            objects in proptest::collection::vec(
                ("[A-Z]{1,6}( [A-Z]{1,6})?", "[ -~\\n\\ré]{0,16}",
                 proptest::collection::vec(sql::tests::pieces(), 1..6)),
                0..6,
            ),
        ) {
            let objects = objects.into_iter().map(|(kind, name, pieces)| Object {
                kind,
                name,
                text: pieces.join(" ").trim().to_owned(),
            });
            let document = Document {
                name: "orders".into(),
                form: Form::Sql,
                objects: objects.collect(),
            };
            let text = document.render();
            let read = Document::parse("orders", Form::Sql, &text);
            prop_assert_eq!(read, Some(document), "{}", text);
        }

        /// A damaged snapshot is refused or read, and does no harm.
        #[test]
        fn a_damaged_snapshot_does_no_harm(text in "(--: |TABLE: |'|\\$\\$|\"|/\\*|\n|a|;| ){0,40}") {
            if let Some(read) = Document::parse("orders", Form::Sql, &text) {
                let again = Document::parse("orders", Form::Sql, &read.render());
                prop_assert_eq!(again, Some(read));
            }
        }
    }
}
