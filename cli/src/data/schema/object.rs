//! The parts of a schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

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
    /// Anything else.
    Json,
}

impl Form {
    /// What files of it end with.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Sql => "sql",
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
    /// The text of its snapshot: the same for the same parts.
    #[must_use]
    pub fn render(&self) -> String {
        match self.form {
            Form::Sql => self.as_sql(),
            Form::Json => self.as_json(),
        }
    }

    fn as_sql(&self) -> String {
        let mut text = format!(
            "-- Schema {}, as `dm schema snapshot` wrote it. psql takes it, after the roles are there.\n",
            self.name
        );
        for object in &self.objects {
            text.push_str(&format!(
                "\n{MARK}{} {}\n{}\n",
                object.kind, object.name, object.text
            ));
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
    pub fn parse(name: &str, form: Form, text: &str) -> Option<Self> {
        let objects = match form {
            Form::Sql => of_sql(text),
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
    pub fn of_values(name: &str, values: Vec<(String, String, Value)>) -> Self {
        let mut objects: Vec<Object> = values
            .into_iter()
            .map(|(kind, name, value)| Object {
                kind,
                name,
                text: pretty(value),
            })
            .collect();
        objects.sort_by(|one, other| (&one.kind, &one.name).cmp(&(&other.kind, &other.name)));
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

fn of_sql(text: &str) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix(MARK) {
            // A kind is in capitals, and a name begins with anything else.
            let (kind, name) = split(heading);
            objects.push(Object {
                kind: kind.to_owned(),
                name: name.to_owned(),
                text: String::new(),
            });
        } else if let Some(object) = objects.last_mut() {
            object.text.push_str(line);
            object.text.push('\n');
        }
    }
    for object in &mut objects {
        object.text.truncate(object.text.trim_end().len());
    }
    objects
}

/// The kinds of pg_dump that this project's schemas can have.
const KINDS: [&str; 20] = [
    "SCHEMA",
    "TABLE",
    "SEQUENCE OWNED BY",
    "SEQUENCE",
    "DEFAULT ACL",
    "DEFAULT",
    "FK CONSTRAINT",
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "INDEX",
    "VIEW",
    "MATERIALIZED VIEW",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "TYPE",
    "DOMAIN",
    "COMMENT",
    "ACL",
    "EXTENSION",
];

fn split(heading: &str) -> (&str, &str) {
    let known = KINDS
        .iter()
        .find_map(|kind| Some((*kind, heading.strip_prefix(kind)?.strip_prefix(' ')?)));
    known
        .or_else(|| heading.split_once(' '))
        .unwrap_or((heading, ""))
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
}
