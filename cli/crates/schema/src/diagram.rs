//! A picture of a schema: its tables and what refers to what, in Mermaid's words
//! (<https://mermaid.js.org/syntax/entityRelationshipDiagram.html>).

use std::collections::{BTreeMap, BTreeSet};

use super::object::{SchemaDocument, SchemaObject};
use super::table::{self, ColumnDefinition};

/// Words that begin something else in Mermaid's grammar.
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

/// What a column can't be called, since it says what the column is.
const KEY_MARKERS: [&str; 3] = ["pk", "fk", "uk"];

/// The picture, in Markdown.
pub(super) fn render(document: &SchemaDocument) -> String {
    let tables: Vec<&SchemaObject> = objects_of_kind(document, "TABLE").collect();
    let mut entities = UniqueNames::default();
    for object in &tables {
        entities.entity_name(&object.name);
    }
    let references = foreign_keys(document);
    let file = super::file_names::file_name(document);
    // What reads the link takes `%53` for a letter.
    let link = file.replace('%', "%25");
    let mut text = format!(
        "# Schema {}\n\nWritten by `dm schema snapshot` from [{file}]({link}).\n\n```mermaid\nerDiagram\n",
        sanitize_text(&document.name),
    );
    for object in &tables {
        text.push_str(&format!("    {} {{\n", entities.entity_name(&object.name)));
        let key = primary_key(document, &object.name);
        let mut words = UniqueNames::default();
        for ColumnDefinition {
            name,
            data_type: kind,
        } in table::parse_table(&object.text).columns
        {
            let mut marks = Vec::new();
            if key.contains(&name) {
                marks.push("PK");
            }
            let refers =
                |it: &ForeignKey| it.from_table == object.name && it.columns.contains(&name);
            if references.iter().any(refers) {
                marks.push("FK");
            }
            let (kind, word, marks) = (
                type_to_mermaid_word(&kind),
                words.column_name(&name),
                marks.join(", "),
            );
            let mut line = format!("        {kind} {word} {marks}")
                .trim_end()
                .to_owned();
            if word != name {
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
            .map(|it| sanitize_text(it))
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
    document.objects.iter().filter(move |it| it.kind == kind)
}

/// What a text says, without what would end a string of Mermaid's, or the picture.
fn sanitize_text(text: &str) -> String {
    let letters = text.chars().map(|letter| match letter {
        '"' | '`' => '\'',
        '%' | '\\' | '#' | ';' | '<' | '>' | '{' | '}' => '_',
        letter if letter.is_control() => ' ',
        letter => letter,
    });
    let plain: String = letters.collect();
    let plain = plain.trim();
    if plain.is_empty() {
        "_".to_owned()
    } else {
        plain.to_owned()
    }
}

/// A word that any place of Mermaid's grammar takes.
fn to_mermaid_word(text: &str) -> String {
    let word: String = text
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    if word.starts_with(|it: char| it.is_ascii_alphabetic()) {
        word
    } else {
        format!("x{word}")
    }
}

/// A type is one word here, and some have a short one.
fn type_to_mermaid_word(kind: &str) -> String {
    let short = kind
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

/// Names as Mermaid takes them: one for each, and none twice.
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
        let is_mark = KEY_MARKERS.contains(&name.to_lowercase().as_str());
        let word = if is_mark {
            format!("{name}_")
        } else {
            to_mermaid_word(name)
        };
        self.unique_name(name, |count| match count {
            1 => word.clone(),
            count => format!("{word}_{count}"),
        })
    }

    fn unique_name(&mut self, name: &str, shown: impl Fn(usize) -> String) -> String {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let free = (1..).map(shown).find(|it| !self.taken.contains(it));
        let free = free.unwrap_or_default();
        self.taken.insert(free.clone());
        self.known.insert(name.to_owned(), free.clone());
        free
    }
}

fn primary_key(document: &SchemaDocument, table: &str) -> Vec<String> {
    objects_of_kind(document, "CONSTRAINT")
        .filter(|it| is_on_table(&it.name, table))
        .find_map(|it| table::names_after_phrase(&it.text, &["PRIMARY", "KEY"]))
        .map(|(names, _)| names)
        .unwrap_or_default()
}

/// Whether a constraint of this name is on a table: its name begins with the table's.
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
    let references = objects_of_kind(document, "FK CONSTRAINT").filter_map(|it| {
        let (columns, rest) = table::names_after_phrase(&it.text, &["FOREIGN", "KEY"])?;
        let (schema, name) = table::referenced_table(rest)?;
        // The longest one, where a table's name begins with that of another one.
        let tables =
            objects_of_kind(document, "TABLE").filter(|table| is_on_table(&it.name, &table.name));
        let from = tables
            .map(|it| it.name.as_str())
            .max_by_key(|it| it.len())?;
        let to = match schema.filter(|it| *it != document.name) {
            Some(schema) => format!("{schema}.{name}"),
            None => name,
        };
        Some(ForeignKey {
            from_table: from.to_owned(),
            columns,
            to_table: to,
        })
    });
    references.collect()
}

#[cfg(test)]
mod tests {
    use super::super::object::{SchemaObject, SnapshotFormat};
    use super::*;

    #[test]
    fn tables_keys_and_references_are_drawn() {
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
    fn a_picture_of_any_names_is_one_that_mermaid_reads() {
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
