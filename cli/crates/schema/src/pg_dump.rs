//! The database's schemas, as pg_dump tells them.

use super::object::{SchemaDocument, SchemaObject, SnapshotFormat};
use super::pg_archive::{self, ArchiveEntry, DumpArchiveError};
use super::secrets;
use super::sql;

/// The document of what is in no schema: extensions, languages, casts, publications, and the
/// database's own settings and rights.
pub(super) const DATABASE_DOCUMENT: &str = "database";

/// What says how the dump itself is to be read, and no part of a schema.
const IGNORED_KINDS: [&str; 5] = [
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
    "DATABASE",
    // Its data, which is none of a schema's.
    "SEQUENCE SET",
];

/// What has an owner of its own, which pg_dump sets by another statement.
const OWNED_KINDS: [&str; 26] = [
    "ACCESS METHOD",
    "AGGREGATE",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "MATERIALIZED VIEW",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TYPE",
    "VIEW",
];

/// Of these there may be several of one name, which what they work on tells apart.
const KINDS_NAMED_BY_SIGNATURE: [&str; 3] = ["OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY"];

/// The archive of one call, by schema. Every schema that was asked for is there, and every
/// other one that the archive tells of. What the database itself is called makes no
/// difference.
pub(super) fn read_documents(
    archive: &[u8],
    database: &str,
    schemas: &[String],
) -> Result<Vec<SchemaDocument>, DumpArchiveError> {
    let mut names: Vec<Option<String>> = schemas.iter().cloned().map(Some).collect();
    names.push(None);
    let mut documents: Vec<SchemaDocument> = names.into_iter().map(empty_document).collect();
    let mut last = Vec::new();
    for entry in pg_archive::read_entries(archive)? {
        if IGNORED_KINDS.contains(&entry.kind.as_str()) {
            continue;
        }
        let schema = schema_of(&entry);
        let object = to_object(&entry, database);
        if entry.kind == "EVENT TRIGGER" {
            // Where it is there, all else would have to get past it.
            last.push(object);
            continue;
        }
        let wanted = empty_document(schema);
        let place = documents
            .iter()
            .position(|it| it.name == wanted.name && it.format == wanted.format);
        let place = place.unwrap_or_else(|| {
            documents.push(wanted);
            documents.len() - 1
        });
        documents[place].objects.push(object);
    }
    if let Some(document) = documents
        .iter_mut()
        .find(|it| it.format == SnapshotFormat::Database)
    {
        document.objects.extend(last);
    }
    Ok(documents)
}

fn empty_document(schema: Option<String>) -> SchemaDocument {
    let (name, form) = match schema {
        Some(schema) => (schema, SnapshotFormat::Sql),
        None => (DATABASE_DOCUMENT.to_owned(), SnapshotFormat::Database),
    };
    SchemaDocument {
        name,
        format: form,
        objects: Vec::new(),
    }
}

/// The schema that an object belongs to. One itself, and what is said of it, is in none.
fn schema_of(entry: &ArchiveEntry) -> Option<String> {
    if entry.schema.is_some() {
        return entry.schema.clone();
    }
    match entry.kind.as_str() {
        "SCHEMA" => Some(entry.name.clone()),
        "ACL" | "COMMENT" | "SECURITY LABEL" => named_object(&entry.name, "SCHEMA "),
        _ => None,
    }
}

/// What a name such as `SCHEMA "a b"` names.
fn named_object(name: &str, what: &str) -> Option<String> {
    let mut tokens = sql::tokenize(name.strip_prefix(what)?);
    let first = tokens.next()?.identifier();
    tokens.next().is_none().then_some(first)
}

fn to_object(entry: &ArchiveEntry, database: &str) -> SchemaObject {
    let kind = entry.kind.as_str();
    let mut name = entry.name.clone();
    let mut text = entry.create_statement.trim().to_owned();
    let is_of_database = kind == "DATABASE PROPERTIES"
        || entry.schema.is_none() && named_object(&name, "DATABASE ").as_deref() == Some(database);
    if is_of_database {
        name = "DATABASE".to_owned();
        text = with_psql_database_name(&text, database);
    }
    if KINDS_NAMED_BY_SIGNATURE.contains(&kind)
        && let Some(told) = unqualified_signature(entry)
    {
        name = told;
    }
    if kind == "DEFAULT ACL" {
        name = format!("{name} OF {}", entry.owner);
    }
    if kind.ends_with("ACL") {
        text = sort_grants(&text);
    }
    if secrets::may_contain_secrets(kind) {
        text = secrets::mask_secrets(&text);
    }
    // What pg_restore sets before the statement, where it is not the usual one.
    for (setting, value, usual) in [
        ("default_tablespace", &entry.tablespace, ""),
        ("default_table_access_method", &entry.access_method, "heap"),
    ] {
        if !value.is_empty() && value != usual {
            text = format!(
                "SET {setting} = {};\n{text}\nRESET {setting};",
                sql::quote_identifier(value)
            );
        }
    }
    if OWNED_KINDS.contains(&kind)
        && !entry.owner.is_empty()
        && let Some(target) = drop_target(entry)
    {
        let owner = sql::quote_if_needed(&entry.owner);
        let alter = format!("ALTER {target} OWNER TO {owner};");
        text = format!("{text}\n\n{alter}").trim().to_owned();
    }
    SchemaObject {
        kind: kind.to_owned(),
        name,
        text,
    }
}

/// What `DROP` names: `FUNCTION sales.f(integer)`.
fn drop_target(entry: &ArchiveEntry) -> Option<String> {
    let told = entry.drop_statement.trim().strip_prefix("DROP ");
    let told = told.and_then(|told| told.strip_suffix(';'));
    if let Some(told) = told {
        return Some(told.to_owned());
    }
    // Those that go with something else, such as the sequence of an identity column.
    let schema = entry.schema.as_deref()?;
    let is_plain = matches!(entry.kind.as_str(), "SEQUENCE" | "VIEW" | "TABLE");
    is_plain.then(|| {
        format!(
            "{} {}.{}",
            entry.kind,
            sql::quote_if_needed(schema),
            sql::quote_if_needed(&entry.name)
        )
    })
}

/// The same without the kind and the schema: `+ (integer, integer)`.
fn unqualified_signature(entry: &ArchiveEntry) -> Option<String> {
    let target = drop_target(entry)?;
    let told = target.strip_prefix(entry.kind.as_str())?.trim_start();
    let schema = entry.schema.as_deref()?;
    let plain = [
        format!("{schema}."),
        format!("{}.", sql::quote_identifier(schema)),
    ];
    let short = plain.iter().find_map(|it| told.strip_prefix(it.as_str()));
    Some(short.unwrap_or(told).to_owned())
}

/// Rights that were granted one after the other stand in the order in which that was done,
/// which says nothing.
fn sort_grants(text: &str) -> String {
    let mut statements = sql::split_statements(text);
    let is_grant = |text: &str| text.contains("GRANT ") && !text.contains("REVOKE ");
    for run in statements.chunk_by_mut(|one, other| is_grant(one) && is_grant(other)) {
        run.sort_unstable();
    }
    statements.join("\n")
}

/// A statement on the database itself, as psql takes it in any database.
fn with_psql_database_name(text: &str, database: &str) -> String {
    let mut named = String::with_capacity(text.len());
    let mut before = String::new();
    for token in sql::tokenize(text) {
        if before.eq_ignore_ascii_case("DATABASE") && token.identifier() == database {
            named.push_str(":\"DBNAME\"");
        } else {
            named.push_str(token.text);
        }
        if !token.is_blank() {
            before = token.text.to_owned();
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::super::pg_archive::tests::write;
    use super::*;

    fn entry(kind: &str, name: &str, schema: &str, create: &str, drop: &str) -> ArchiveEntry {
        ArchiveEntry {
            kind: kind.into(),
            name: name.into(),
            schema: Some(schema.to_owned()).filter(|it| !it.is_empty()),
            owner: "sales_owner".into(),
            create_statement: create.into(),
            drop_statement: drop.into(),
            access_method: "heap".into(),
            ..ArchiveEntry::default()
        }
    }

    fn read_all(entries: &[ArchiveEntry]) -> Vec<SchemaDocument> {
        read_documents(
            &write(entries),
            "dunder",
            &["sales".into(), "orders".into()],
        )
        .unwrap()
    }

    fn texts(document: &SchemaDocument) -> Vec<(&str, &str, &str)> {
        let objects = document.objects.iter();
        objects
            .map(|it| (it.kind.as_str(), it.name.as_str(), it.text.as_str()))
            .collect()
    }

    #[test]
    fn an_archive_is_taken_apart() {
        let documents = read_all(&[
            entry(
                "ENCODING",
                "ENCODING",
                "",
                "SET client_encoding = 'UTF8';\n",
                "",
            ),
            entry(
                "EVENT TRIGGER",
                "e",
                "",
                "CREATE EVENT TRIGGER e;\n",
                "DROP EVENT TRIGGER e;\n",
            ),
            entry(
                "SCHEMA",
                "sales",
                "",
                "CREATE SCHEMA sales;\n",
                "DROP SCHEMA sales;\n",
            ),
            entry(
                "TABLE",
                "leads",
                "sales",
                "CREATE TABLE sales.leads (\n    lead_id text\n);\n",
                "DROP TABLE sales.leads;\n",
            ),
            entry(
                "COMMENT",
                "SCHEMA \"sales\"",
                "",
                "COMMENT ON SCHEMA sales IS 'x';\n",
                "",
            ),
            entry(
                "ACL",
                "SCHEMA sales",
                "",
                "GRANT USAGE ON SCHEMA sales TO sales_service;\n",
                "",
            ),
            entry(
                "COMMENT",
                "EXTENSION x",
                "",
                "COMMENT ON EXTENSION x IS 'y';\n",
                "",
            ),
            entry(
                "SCHEMA",
                "new",
                "",
                "CREATE SCHEMA new;\n",
                "DROP SCHEMA new;\n",
            ),
        ]);
        let names: Vec<&str> = documents.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["sales", "orders", "database", "new"]);
        assert_eq!(
            texts(&documents[0]),
            [
                (
                    "SCHEMA",
                    "sales",
                    "CREATE SCHEMA sales;\n\nALTER SCHEMA sales OWNER TO sales_owner;"
                ),
                (
                    "TABLE",
                    "leads",
                    "CREATE TABLE sales.leads (\n    lead_id text\n);\n\nALTER TABLE sales.leads OWNER TO sales_owner;"
                ),
                (
                    "COMMENT",
                    "SCHEMA \"sales\"",
                    "COMMENT ON SCHEMA sales IS 'x';"
                ),
                (
                    "ACL",
                    "SCHEMA sales",
                    "GRANT USAGE ON SCHEMA sales TO sales_service;"
                ),
            ]
        );
        assert!(documents[1].objects.is_empty());
        let of_database: Vec<_> = texts(&documents[2]).iter().map(|it| it.0).collect();
        assert_eq!(of_database, ["COMMENT", "EVENT TRIGGER"]);
    }

    #[test]
    fn operators_of_one_name_are_told_apart() {
        let documents = read_all(&[
            entry(
                "OPERATOR",
                "+",
                "sales",
                "a",
                "DROP OPERATOR sales.+ (text, text);\n",
            ),
            entry(
                "OPERATOR",
                "+",
                "sales",
                "b",
                "DROP OPERATOR sales.+ (text, integer);\n",
            ),
            entry(
                "OPERATOR CLASS",
                "o",
                "sales",
                "c",
                "DROP OPERATOR CLASS sales.o USING hash;\n",
            ),
        ]);
        let names: Vec<_> = texts(&documents[0]).iter().map(|it| it.1).collect();
        assert_eq!(
            names,
            ["+ (text, text)", "+ (text, integer)", "o USING hash"]
        );
    }

    #[test]
    fn the_order_of_grants_and_the_name_of_the_database_make_no_difference() {
        let of = |database: &str, first: &str, second: &str| {
            let text = format!(
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC;\n\
                 GRANT CONNECT ON DATABASE {database} TO {first};\n\
                 GRANT CONNECT ON DATABASE {database} TO {second};\n"
            );
            let name = format!("DATABASE {database}");
            let entries = [entry("ACL", &name, "", &text, "")];
            read_documents(&write(&entries), database.trim_matches('"'), &[]).unwrap()
        };
        let documents = of("dunder", "z", "a");
        assert_eq!(documents, of("\"dm schema\"", "a", "z"));
        assert_eq!(
            texts(&documents[0]),
            [(
                "ACL",
                "DATABASE",
                "REVOKE ALL ON DATABASE :\"DBNAME\" FROM PUBLIC;\n\
                 GRANT CONNECT ON DATABASE :\"DBNAME\" TO a;\n\
                 GRANT CONNECT ON DATABASE :\"DBNAME\" TO z;"
            )]
        );
    }

    #[test]
    fn where_and_how_a_table_is_kept_is_part_of_it() {
        let mut other = entry("TABLE", "t", "sales", "CREATE TABLE sales.t (\n);\n", "");
        other.access_method = "columnar".into();
        let documents = read_all(&[other]);
        let text = &documents[0].objects[0].text;
        assert!(
            text.starts_with("SET default_table_access_method = \"columnar\";\n"),
            "{text}"
        );
    }
}
