//! A diagram of a schema: its tables and foreign keys, in the syntax of Mermaid
//! (<https://mermaid.js.org/syntax/entityRelationshipDiagram.html>).

use std::collections::{BTreeMap, BTreeSet};

use super::object::{SchemaDocument, SchemaObject};
use super::table::{self, ColumnDefinition};

/// Keywords of Mermaid's grammar.
const KEYWORDS: [&str; 16] = [
    "accdescr",
    "acctitle",
    "class",
    "classdef",
    "direction",
    "erdiagram",
    "many",
    "one",
    "only",
    "optionally",
    "style",
    "title",
    "to",
    "u",
    "zero",
    "end",
];

/// Markers of keys, which cannot be names of columns.
const KEY_MARKERS: [&str; 3] = ["pk", "fk", "uk"];

/// Renders the diagram, in Markdown.
pub(super) fn render(document: &SchemaDocument) -> String {
    let tables: Vec<&SchemaObject> = objects_of_kind(document, "TABLE").collect();
    let mut entities = UniqueNames::default();
    for object in &tables {
        entities.entity_name(&object.name);
    }
    let references = foreign_keys(document);
    let file = super::file_names::file_name(document);
    // Markdown decodes `%53` in a link.
    let link = file.replace('%', "%25");
    let mut text = format!(
        "# Schema {}\n\nWritten by `dm schema snapshot` from [{file}]({link}).\n\n```mermaid\nerDiagram\n",
        sanitize_text(&document.name),
    );
    for object in &tables {
        text.push_str(&format!("    {} {{\n", entities.entity_name(&object.name)));
        let key = primary_key(document, &object.name);
        let mut column_names = UniqueNames::default();
        for ColumnDefinition { name, data_type } in table::parse_table(&object.text).columns {
            let mut markers = Vec::new();
            if key.contains(&name) {
                markers.push("PK");
            }
            let is_from_column = |reference: &ForeignKey| {
                reference.from_table == object.name && reference.columns.contains(&name)
            };
            if references.iter().any(is_from_column) {
                markers.push("FK");
            }
            let (data_type, column_name, markers) = (
                type_to_mermaid_word(&data_type),
                column_names.column_name(&name),
                markers.join(", "),
            );
            let mut line = format!("        {data_type} {column_name} {markers}")
                .trim_end()
                .to_owned();
            if column_name != name {
                line.push_str(&format!(" \"{}\"", sanitize_text(&name)));
            }
            text.push_str(&line);
            text.push('\n');
        }
        text.push_str("    }\n");
    }
    for reference in &references {
        let columns: Vec<String> = reference
            .columns
            .iter()
            .map(|column| sanitize_text(column))
            .collect();
        text.push_str(&format!(
            "    {} ||--o{{ {} : \"{}\"\n",
            entities.entity_name(&reference.to_table),
            entities.entity_name(&reference.from_table),
            columns.join(", ")
        ));
    }
    text.push_str("```\n");
    text
}

fn objects_of_kind<'a>(
    document: &'a SchemaDocument,
    kind: &'static str,
) -> impl Iterator<Item = &'a SchemaObject> {
    let objects = document.objects.iter();
    objects.filter(move |object| object.kind == kind)
}

/// Replaces the characters that would end a string of Mermaid or the diagram.
fn sanitize_text(text: &str) -> String {
    let characters = text.chars().map(|character| match character {
        '"' | '`' => '\'',
        '%' | '\\' | '#' | ';' | '<' | '>' | '{' | '}' => '_',
        character if character.is_control() => ' ',
        character => character,
    });
    let sanitized: String = characters.collect();
    let sanitized = sanitized.trim();
    if sanitized.is_empty() {
        "_".to_owned()
    } else {
        sanitized.to_owned()
    }
}

/// Converts a text to a word that is valid anywhere in Mermaid's grammar.
fn to_mermaid_word(text: &str) -> String {
    let word: String = text
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '_'
            }
        })
        .collect();
    if word.starts_with(|first: char| first.is_ascii_alphabetic()) {
        word
    } else {
        format!("x{word}")
    }
}

/// Converts a type to one word, with a short name for timestamps.
fn type_to_mermaid_word(data_type: &str) -> String {
    let short = data_type
        .replace("timestamp with time zone", "timestamptz")
        .replace("timestamp without time zone", "timestamp");
    let word = to_mermaid_word(&short);
    let word = word.trim_end_matches('_');
    if word.is_empty() {
        "x".to_owned()
    } else {
        word.to_owned()
    }
}

/// Assigns a unique valid name in Mermaid to each name.
#[derive(Debug, Default)]
struct UniqueNames {
    known: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl UniqueNames {
    fn entity_name(&mut self, name: &str) -> String {
        let is_word =
            to_mermaid_word(name) == name && !KEYWORDS.contains(&name.to_lowercase().as_str());
        self.unique_name(name, |count| match (is_word, count) {
            (true, 1) => name.to_owned(),
            (_, 1) => format!("\"{}\"", sanitize_text(name)),
            (_, count) => format!("\"{} ({count})\"", sanitize_text(name)),
        })
    }

    fn column_name(&mut self, name: &str) -> String {
        let is_marker = KEY_MARKERS.contains(&name.to_lowercase().as_str());
        let word = if is_marker {
            format!("{name}_")
        } else {
            to_mermaid_word(name)
        };
        self.unique_name(name, |count| match count {
            1 => word.clone(),
            count => format!("{word}_{count}"),
        })
    }

    fn unique_name(&mut self, name: &str, format_name: impl Fn(usize) -> String) -> String {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let unused = (1..)
            .map(format_name)
            .find(|candidate| !self.taken.contains(candidate));
        let unused = unused.unwrap_or_default();
        self.taken.insert(unused.clone());
        self.known.insert(name.to_owned(), unused.clone());
        unused
    }
}

fn primary_key(document: &SchemaDocument, table: &str) -> Vec<String> {
    objects_of_kind(document, "CONSTRAINT")
        .filter(|constraint| is_on_table(&constraint.name, table))
        .find_map(|constraint| table::names_after_phrase(&constraint.text, &["PRIMARY", "KEY"]))
        .map(|(names, _)| names)
        .unwrap_or_default()
}

/// Returns whether a constraint belongs to a table: its name begins with the name of the table.
fn is_on_table(name: &str, table: &str) -> bool {
    name.strip_prefix(table)
        .is_some_and(|rest| rest.starts_with(' '))
}

struct ForeignKey {
    from_table: String,
    columns: Vec<String>,
    to_table: String,
}

fn foreign_keys(document: &SchemaDocument) -> Vec<ForeignKey> {
    let references = objects_of_kind(document, "FK CONSTRAINT").filter_map(|constraint| {
        let (columns, rest) = table::names_after_phrase(&constraint.text, &["FOREIGN", "KEY"])?;
        let (schema, name) = table::referenced_table(rest)?;
        // The longest name, because the name of a table may begin with the name of another.
        let tables = objects_of_kind(document, "TABLE")
            .filter(|table| is_on_table(&constraint.name, &table.name));
        let from_table = tables
            .map(|table| table.name.as_str())
            .max_by_key(|name| name.len())?;
        let to_table = match schema.filter(|schema| *schema != document.name) {
            Some(schema) => format!("{schema}.{name}"),
            None => name,
        };
        Some(ForeignKey {
            from_table: from_table.to_owned(),
            columns,
            to_table,
        })
    });
    references.collect()
}

#[cfg(test)]
mod tests {
    use super::super::object::{SchemaObject, SnapshotFormat};
    use super::*;

    #[test]
    fn diagram_shows_tables_keys_and_references() {
        let object = |kind: &str, name: &str, text: &str| SchemaObject {
            kind: kind.into(),
            name: name.into(),
            text: text.into(),
        };
        let document = SchemaDocument {
            name: "sales".into(),
            format: SnapshotFormat::Sql,
            objects: vec![
                object(
                    "TABLE",
                    "clients",
                    "CREATE TABLE sales.clients (\n    client_id text DEFAULT ('c'::text) NOT NULL,\n    \
                     lead_id text NOT NULL,\n    price numeric(12,2),\n    \
                     at timestamp with time zone,\n    CONSTRAINT c CHECK ((price > 0))\n);",
                ),
                object(
                    "CONSTRAINT",
                    "clients clients_pkey",
                    "ALTER TABLE ONLY sales.clients\n    ADD CONSTRAINT clients_pkey PRIMARY KEY (client_id);",
                ),
                object(
                    "FK CONSTRAINT",
                    "clients clients_lead_id_fkey",
                    "ALTER TABLE ONLY sales.clients\n    ADD CONSTRAINT x FOREIGN KEY (lead_id) REFERENCES sales.leads(lead_id) ON DELETE RESTRICT;",
                ),
            ],
        };
        insta::assert_snapshot!("diagram", render(&document));
    }

    #[test]
    fn diagram_escapes_names_that_are_invalid_in_mermaid() {
        let object = |kind: &str, name: &str, text: &str| SchemaObject {
            kind: kind.into(),
            name: name.into(),
            text: text.into(),
        };
        let document = SchemaDocument {
            name: "Sales \"x\"`".into(),
            format: SnapshotFormat::Sql,
            objects: vec![
                object(
                    "TABLE",
                    "a b",
                    "CREATE TABLE s.\"a b\" (\n    \"b \"\"c\" integer,\n    \"b _c\" integer,\n    pk text,\n    \"1é\" \"S\".\"t u\"\n);",
                ),
                object("TABLE", "a", "CREATE TABLE s.a (\n    x integer\n);"),
                object("TABLE", "one", "CREATE TABLE s.one (\n);"),
                object("TABLE", "a%b", "CREATE TABLE s.\"a%b\" (\n);"),
                object("TABLE", "a#b", "CREATE TABLE s.\"a#b\" (\n);"),
                object(
                    "CONSTRAINT",
                    "a b a b_pkey",
                    "ALTER TABLE ONLY s.\"a b\"\n    ADD CONSTRAINT \"a b_pkey\" PRIMARY KEY (\"b \"\"c\");",
                ),
                object(
                    "FK CONSTRAINT",
                    "a b x",
                    "ALTER TABLE ONLY s.\"a b\"\n    ADD CONSTRAINT x FOREIGN KEY (pk) REFERENCES other.\"t \"\"u\"(x);",
                ),
            ],
        };
        insta::assert_snapshot!("names", render(&document));
    }
}
