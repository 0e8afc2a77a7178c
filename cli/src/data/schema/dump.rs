//! The database's schemas, as pg_dump tells them.

use super::object::{Document, Form, Object};

/// The dump of one call, by schema. Every schema that was asked for is there.
pub(super) fn read(text: &str, schemas: &[String]) -> Vec<Document> {
    let mut documents: Vec<Document> = schemas
        .iter()
        .map(|name| Document {
            name: name.clone(),
            form: Form::Sql,
            objects: Vec::new(),
        })
        .collect();
    for part in text.split("\n--\n-- Name: ").skip(1) {
        let Some((heading, body)) = part.split_once("\n--\n") else {
            continue;
        };
        let Some((schema, object)) = object(heading, body) else {
            continue;
        };
        if let Some(document) = documents.iter_mut().find(|it| it.name == schema) {
            document.objects.push(object);
        }
    }
    for document in &mut documents {
        // pg_dump's order puts the kinds one after the other; names are easier to find.
        document
            .objects
            .sort_by(|one, other| (rank(one), &one.name).cmp(&(rank(other), &other.name)));
    }
    documents
}

/// An order in which psql can take them.
fn rank(object: &Object) -> usize {
    const ORDER: [&str; 14] = [
        "SCHEMA",
        "EXTENSION",
        "TYPE",
        "DOMAIN",
        "FUNCTION",
        "PROCEDURE",
        "TABLE",
        "SEQUENCE",
        "SEQUENCE OWNED BY",
        "DEFAULT",
        "CONSTRAINT",
        "INDEX",
        "FK CONSTRAINT",
        "VIEW",
    ];
    let place = ORDER.iter().position(|kind| *kind == object.kind);
    place.unwrap_or(ORDER.len())
}

/// `leads; Type: TABLE; Schema: sales; Owner: sales_owner`, and what follows.
fn object(heading: &str, body: &str) -> Option<(String, Object)> {
    let mut parts = heading.split("; ");
    let name = parts.next()?;
    let mut part = |label: &str| parts.next()?.strip_prefix(label);
    let (kind, schema) = (part("Type: ")?, part("Schema: ")?);
    // A schema itself, and the rights on it, are in none.
    let schema = match schema {
        "-" => name.strip_prefix("SCHEMA ").unwrap_or(name),
        schema => schema,
    };
    // What is set for the statements after it is no part of it.
    let text: Vec<&str> = body
        .lines()
        .filter(|line| !line.starts_with("SET default_") && !line.starts_with('\\'))
        .collect();
    let text = text.join("\n");
    let end = text.find("\n--\n-- PostgreSQL database dump complete");
    let text = text[..end.unwrap_or(text.len())].trim();
    let mut lines = String::new();
    let mut blank = false;
    for line in text.lines() {
        // Two blank lines say no more than one.
        if !(blank && line.is_empty()) {
            lines.push_str(line);
            lines.push('\n');
        }
        blank = line.is_empty();
    }
    lines.truncate(lines.trim_end().len());
    Some((
        schema.to_owned(),
        Object {
            kind: kind.to_owned(),
            name: name.to_owned(),
            text: lines,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_taken_apart() {
        let text = "--\n-- PostgreSQL database dump\n--\n\n\\restrict dm\n\nSET row_security = off;\n\
            \n--\n-- Name: sales; Type: SCHEMA; Schema: -; Owner: sales_owner\n--\n\n\
            CREATE SCHEMA sales;\n\n\nALTER SCHEMA sales OWNER TO sales_owner;\n\n\
            SET default_tablespace = '';\n\
            \n--\n-- Name: leads; Type: TABLE; Schema: sales; Owner: sales_owner\n--\n\n\
            CREATE TABLE sales.leads (\n    lead_id text\n);\n\n\
            \n--\n-- Name: SCHEMA sales; Type: ACL; Schema: -; Owner: sales_owner\n--\n\n\
            GRANT USAGE ON SCHEMA sales TO sales_service;\n\n\n\
            --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict dm\n";
        let documents = read(text, &["sales".into(), "orders".into()]);
        assert!(documents[1].objects.is_empty());
        let parts: Vec<_> = documents[0]
            .objects
            .iter()
            .map(|it| (it.kind.as_str(), it.name.as_str(), it.text.as_str()))
            .collect();
        assert_eq!(
            parts,
            [
                (
                    "SCHEMA",
                    "sales",
                    "CREATE SCHEMA sales;\n\nALTER SCHEMA sales OWNER TO sales_owner;"
                ),
                (
                    "TABLE",
                    "leads",
                    "CREATE TABLE sales.leads (\n    lead_id text\n);"
                ),
                (
                    "ACL",
                    "SCHEMA sales",
                    "GRANT USAGE ON SCHEMA sales TO sales_service;"
                ),
            ]
        );
    }
}
