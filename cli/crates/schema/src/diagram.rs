//! A picture of a schema: its tables and what refers to what, in Mermaid's words
//! (<https://mermaid.js.org/syntax/entityRelationshipDiagram.html>).

use std::collections::{BTreeMap, BTreeSet};

use super::object::{Document, Object};
use super::table::{self, Column};

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
const MARKS: [&str; 3] = ["pk", "fk", "uk"];

/// The picture, in Markdown.
pub(super) fn render(document: &Document) -> String {
    let tables: Vec<&Object> = of_kind(document, "TABLE").collect();
    let mut entities = Names::default();
    for object in &tables {
        entities.entity(&object.name);
    }
    let references = references(document);
    let file = super::names::file_name(document);
    // What reads the link takes `%53` for a letter.
    let link = file.replace('%', "%25");
    let mut text = format!(
        "# Schema {}\n\nWritten by `dm schema snapshot` from [{file}]({link}).\n\n```mermaid\nerDiagram\n",
        plain(&document.name),
    );
    for object in &tables {
        text.push_str(&format!("    {} {{\n", entities.entity(&object.name)));
        let key = key(document, &object.name);
        let mut words = Names::default();
        for Column { name, kind } in table::parse(&object.text).columns {
            let mut marks = Vec::new();
            if key.contains(&name) {
                marks.push("PK");
            }
            let refers = |it: &Reference| it.from == object.name && it.columns.contains(&name);
            if references.iter().any(refers) {
                marks.push("FK");
            }
            let (kind, word, marks) = (type_word(&kind), words.column(&name), marks.join(", "));
            let mut line = format!("        {kind} {word} {marks}")
                .trim_end()
                .to_owned();
            if word != name {
                line.push_str(&format!(" \"{}\"", plain(&name)));
            }
            text.push_str(&line);
            text.push('\n');
        }
        text.push_str("    }\n");
    }
    for reference in &references {
        let columns: Vec<String> = reference.columns.iter().map(|it| plain(it)).collect();
        text.push_str(&format!(
            "    {} ||--o{{ {} : \"{}\"\n",
            entities.entity(&reference.to),
            entities.entity(&reference.from),
            columns.join(", ")
        ));
    }
    text.push_str("```\n");
    text
}

fn of_kind<'a>(document: &'a Document, kind: &'static str) -> impl Iterator<Item = &'a Object> {
    document.objects.iter().filter(move |it| it.kind == kind)
}

/// What a text says, without what would end a string of Mermaid's, or the picture.
fn plain(text: &str) -> String {
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
fn word(text: &str) -> String {
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
fn type_word(kind: &str) -> String {
    let short = kind
        .replace("timestamp with time zone", "timestamptz")
        .replace("timestamp without time zone", "timestamp");
    let word = word(&short);
    let word = word.trim_end_matches('_');
    if word.is_empty() {
        "x".to_owned()
    } else {
        word.to_owned()
    }
}

/// Names as Mermaid takes them: one for each, and none twice.
#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl Names {
    fn entity(&mut self, name: &str) -> String {
        let is_word = word(name) == name && !KEYWORDS.contains(&name.to_lowercase().as_str());
        self.of(name, |count| match (is_word, count) {
            (true, 1) => name.to_owned(),
            (_, 1) => format!("\"{}\"", plain(name)),
            (_, count) => format!("\"{} ({count})\"", plain(name)),
        })
    }

    fn column(&mut self, name: &str) -> String {
        let is_mark = MARKS.contains(&name.to_lowercase().as_str());
        let word = if is_mark {
            format!("{name}_")
        } else {
            word(name)
        };
        self.of(name, |count| match count {
            1 => word.clone(),
            count => format!("{word}_{count}"),
        })
    }

    fn of(&mut self, name: &str, shown: impl Fn(usize) -> String) -> String {
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

fn key(document: &Document, table: &str) -> Vec<String> {
    of_kind(document, "CONSTRAINT")
        .filter(|it| is_on(&it.name, table))
        .find_map(|it| table::names_after(&it.text, &["PRIMARY", "KEY"]))
        .map(|(names, _)| names)
        .unwrap_or_default()
}

/// Whether a constraint of this name is on a table: its name begins with the table's.
fn is_on(name: &str, table: &str) -> bool {
    name.strip_prefix(table)
        .is_some_and(|rest| rest.starts_with(' '))
}

struct Reference {
    from: String,
    columns: Vec<String>,
    to: String,
}

fn references(document: &Document) -> Vec<Reference> {
    let references = of_kind(document, "FK CONSTRAINT").filter_map(|it| {
        let (columns, rest) = table::names_after(&it.text, &["FOREIGN", "KEY"])?;
        let (schema, name) = table::referenced(rest)?;
        // The longest one, where a table's name begins with that of another one.
        let tables = of_kind(document, "TABLE").filter(|table| is_on(&it.name, &table.name));
        let from = tables
            .map(|it| it.name.as_str())
            .max_by_key(|it| it.len())?;
        let to = match schema.filter(|it| *it != document.name) {
            Some(schema) => format!("{schema}.{name}"),
            None => name,
        };
        Some(Reference {
            from: from.to_owned(),
            columns,
            to,
        })
    });
    references.collect()
}

#[cfg(test)]
mod tests {
    use super::super::object::{Form, Object};
    use super::*;

    #[test]
    fn tables_keys_and_references_are_drawn() {
        let object = |kind: &str, name: &str, text: &str| Object {
            kind: kind.into(),
            name: name.into(),
            text: text.into(),
        };
        let document = Document {
            name: "sales".into(),
            form: Form::Sql,
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
        let object = |kind: &str, name: &str, text: &str| Object {
            kind: kind.into(),
            name: name.into(),
            text: text.into(),
        };
        let document = Document {
            name: "Sales \"x\"`".into(),
            form: Form::Sql,
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
