//! A picture of a schema: its tables and what refers to what, in Mermaid's words
//! (<https://mermaid.js.org/syntax/entityRelationshipDiagram.html>).

use super::object::Document;

/// A table of a schema, as far as a picture shows it.
struct Table<'a> {
    name: &'a str,
    columns: Vec<(&'a str, String)>,
    key: Vec<&'a str>,
}

/// The picture, in Markdown.
pub(super) fn render(document: &Document) -> String {
    let tables: Vec<Table<'_>> = document
        .objects
        .iter()
        .filter(|object| object.kind == "TABLE")
        .map(|object| Table {
            name: &object.name,
            columns: columns(&object.text),
            key: key(document, &object.name),
        })
        .collect();
    let references = references(document);
    let mut text = format!(
        "# Schema {}\n\nWritten by `dm schema snapshot` from [{0}.sql]({0}.sql).\n\n```mermaid\nerDiagram\n",
        document.name
    );
    for table in &tables {
        text.push_str(&format!("    {} {{\n", table.name));
        for (column, kind) in &table.columns {
            let mut marks = Vec::new();
            if table.key.contains(column) {
                marks.push("PK");
            }
            let refers = |it: &&Reference<'_>| it.from == table.name && it.columns.contains(column);
            if references.iter().any(|it| refers(&it)) {
                marks.push("FK");
            }
            let marks = marks.join(", ");
            text.push_str(format!("        {kind} {column} {marks}").trim_end());
            text.push('\n');
        }
        text.push_str("    }\n");
    }
    for reference in &references {
        text.push_str(&format!(
            "    {} ||--o{{ {} : \"{}\"\n",
            reference.to,
            reference.from,
            reference.columns.join(", ")
        ));
    }
    text.push_str("```\n");
    text
}

/// The lines between the brackets of a `CREATE TABLE`, without their commas.
pub(super) fn lines(text: &str) -> Vec<&str> {
    let inside = text
        .split_once("(\n")
        .and_then(|(_, rest)| rest.split_once("\n)"));
    let Some((inside, _)) = inside else {
        return Vec::new();
    };
    inside
        .lines()
        .map(|line| line.trim().trim_end_matches(','))
        .collect()
}

fn columns(text: &str) -> Vec<(&str, String)> {
    lines(text)
        .into_iter()
        .filter(|line| !line.starts_with("CONSTRAINT "))
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            // A type is one word here, and this one has a short one.
            let rest = rest.replace("timestamp with time zone", "timestamptz");
            let end = [" DEFAULT ", " NOT NULL", " GENERATED ", " COLLATE "]
                .iter()
                .filter_map(|word| rest.find(word))
                .min();
            let kind: String = rest[..end.unwrap_or(rest.len())]
                .chars()
                .map(|letter| {
                    if letter.is_alphanumeric() {
                        letter
                    } else {
                        '_'
                    }
                })
                .collect();
            Some((name, kind.trim_end_matches('_').to_owned()))
        })
        .collect()
}

fn bracketed<'a>(text: &'a str, after: &str) -> Option<Vec<&'a str>> {
    let (_, rest) = text.split_once(after)?;
    let (inside, _) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
    Some(inside.split(',').map(str::trim).collect())
}

fn key<'a>(document: &'a Document, table: &str) -> Vec<&'a str> {
    let constraints = document.objects.iter();
    constraints
        .filter(|it| it.kind == "CONSTRAINT" && owner(&it.name) == table)
        .find_map(|it| bracketed(&it.text, "PRIMARY KEY"))
        .unwrap_or_default()
}

/// The table that a constraint is on: its name begins with it.
fn owner(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

struct Reference<'a> {
    from: &'a str,
    columns: Vec<&'a str>,
    to: &'a str,
}

fn references(document: &Document) -> Vec<Reference<'_>> {
    let constraints = document.objects.iter();
    constraints
        .filter(|it| it.kind == "FK CONSTRAINT")
        .filter_map(|it| {
            let (_, rest) = it.text.split_once("REFERENCES ")?;
            let to = rest.split('(').next()?;
            Some(Reference {
                from: owner(&it.name),
                columns: bracketed(&it.text, "FOREIGN KEY")?,
                to: to.rsplit('.').next()?.trim(),
            })
        })
        .collect()
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
}
