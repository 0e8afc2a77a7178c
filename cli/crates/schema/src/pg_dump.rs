//! The schemas of a database, from the output of pg_dump.

use super::object::{SchemaDocument, SchemaObject, SnapshotFormat};
use super::pg_archive::{self, ArchiveEntry, DumpArchiveError};
use super::secrets;
use super::sql;

/// The document of objects outside schemas: extensions, languages, casts, publications, and the
/// settings and privileges of the database.
pub(super) const DATABASE_DOCUMENT: &str = "database";

/// Entries that describe the dump itself and are not objects of a schema.
const IGNORED_KINDS: [&str; 5] = [
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
    "DATABASE",
    // Data, which is not part of a schema.
    "SEQUENCE SET",
];

/// Kinds of objects with an owner, which pg_dump sets with a separate statement.
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

/// Kinds of objects that may share a name and are distinguished by their signatures.
const KINDS_NAMED_BY_SIGNATURE: [&str; 3] = ["OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY"];

/// Returns the documents of an archive, by schema: every requested schema, and every other one in
/// the archive. The name of the database does not matter.
pub(super) fn read_documents(
    archive: &[u8],
    database: &str,
    schemas: &[String],
) -> Result<Vec<SchemaDocument>, DumpArchiveError> {
    let mut names: Vec<Option<String>> = schemas.iter().cloned().map(Some).collect();
    names.push(None);
    let mut documents: Vec<SchemaDocument> = names.into_iter().map(empty_document).collect();
    let mut event_triggers = Vec::new();
    for entry in pg_archive::read_entries(archive)? {
        if IGNORED_KINDS.contains(&entry.kind.as_str()) {
            continue;
        }
        let schema = schema_of(&entry);
        let object = to_object(&entry, database);
        if entry.kind == "EVENT TRIGGER" {
            // Created last, because it would affect all statements after it.
            event_triggers.push(object);
            continue;
        }
        let empty = empty_document(schema);
        let index = documents
            .iter()
            .position(|document| document.is_same_document(&empty));
        let index = index.unwrap_or_else(|| {
            documents.push(empty);
            documents.len() - 1
        });
        documents[index].objects.push(object);
    }
    if let Some(document) = documents
        .iter_mut()
        .find(|document| document.format == SnapshotFormat::Database)
    {
        document.objects.extend(event_triggers);
    }
    Ok(documents)
}

fn empty_document(schema: Option<String>) -> SchemaDocument {
    let (name, format) = match schema {
        Some(schema) => (schema, SnapshotFormat::Sql),
        None => (DATABASE_DOCUMENT.to_owned(), SnapshotFormat::Database),
    };
    SchemaDocument {
        name,
        format,
        objects: Vec::new(),
    }
}

/// Returns the schema of an object. In an archive, a schema and its comment and privileges belong to
/// no schema.
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

/// Returns the object in a name like `SCHEMA "a b"`.
fn named_object(name: &str, prefix: &str) -> Option<String> {
    let mut tokens = sql::tokenize(name.strip_prefix(prefix)?);
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
        && let Some(signature) = unqualified_signature(entry)
    {
        name = signature;
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
    // Settings that pg_restore makes before the statement, unless they have their default.
    for (setting, value, default) in [
        ("default_tablespace", &entry.tablespace, ""),
        ("default_table_access_method", &entry.access_method, "heap"),
    ] {
        if !value.is_empty() && value != default {
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

/// Returns the target of the `DROP` statement, e.g. `FUNCTION sales.f(integer)`.
fn drop_target(entry: &ArchiveEntry) -> Option<String> {
    let target = entry.drop_statement.trim().strip_prefix("DROP ");
    let target = target.and_then(|target| target.strip_suffix(';'));
    if let Some(target) = target {
        return Some(target.to_owned());
    }
    // Objects that are dropped with another, such as the sequence of an identity column.
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

/// Returns that target without kind and schema, e.g. `+ (integer, integer)`.
fn unqualified_signature(entry: &ArchiveEntry) -> Option<String> {
    let target = drop_target(entry)?;
    let signature = target.strip_prefix(entry.kind.as_str())?.trim_start();
    let schema = entry.schema.as_deref()?;
    let qualifiers = [
        format!("{schema}."),
        format!("{}.", sql::quote_identifier(schema)),
    ];
    let unqualified = qualifiers
        .iter()
        .find_map(|qualifier| signature.strip_prefix(qualifier.as_str()));
    Some(unqualified.unwrap_or(signature).to_owned())
}

/// Sorts consecutive grants, whose order in the dump is that of the statements and has no meaning.
fn sort_grants(text: &str) -> String {
    let mut statements = sql::split_statements(text);
    let is_grant = |text: &str| text.contains("GRANT ") && !text.contains("REVOKE ");
    for run in statements.chunk_by_mut(|one, other| is_grant(one) && is_grant(other)) {
        run.sort_unstable();
    }
    statements.join("\n")
}

/// Replaces the name of the database in a statement, so that psql can run it in any database.
fn with_psql_database_name(text: &str, database: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut previous = String::new();
    for token in sql::tokenize(text) {
        if previous.eq_ignore_ascii_case("DATABASE") && token.identifier() == database {
            replaced.push_str(":\"DBNAME\"");
        } else {
            replaced.push_str(token.text);
        }
        if !token.is_blank() {
            previous = token.text.to_owned();
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::super::pg_archive::tests::write_archive;
    use super::*;

    fn entry(kind: &str, name: &str, schema: &str, create: &str, drop: &str) -> ArchiveEntry {
        ArchiveEntry {
            kind: kind.into(),
            name: name.into(),
            schema: Some(schema.to_owned()).filter(|schema| !schema.is_empty()),
            owner: "sales_owner".into(),
            create_statement: create.into(),
            drop_statement: drop.into(),
            access_method: "heap".into(),
            ..ArchiveEntry::default()
        }
    }

    fn read_all(entries: &[ArchiveEntry]) -> Vec<SchemaDocument> {
        read_documents(
            &write_archive(entries),
            "dunder",
            &["sales".into(), "orders".into()],
        )
        .unwrap()
    }

    fn texts(document: &SchemaDocument) -> Vec<(&str, &str, &str)> {
        let objects = document.objects.iter();
        objects
            .map(|object| {
                let (kind, name) = (object.kind.as_str(), object.name.as_str());
                (kind, name, object.text.as_str())
            })
            .collect()
    }

    #[test]
    fn archive_entries_are_grouped_by_schema() {
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
        let names: Vec<&str> = documents
            .iter()
            .map(|document| document.name.as_str())
            .collect();
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
        let kinds: Vec<_> = texts(&documents[2]).iter().map(|object| object.0).collect();
        assert_eq!(kinds, ["COMMENT", "EVENT TRIGGER"]);
    }

    #[test]
    fn operators_with_equal_names_are_named_by_signature() {
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
        let names: Vec<_> = texts(&documents[0]).iter().map(|object| object.1).collect();
        assert_eq!(
            names,
            ["+ (text, text)", "+ (text, integer)", "o USING hash"]
        );
    }

    #[test]
    fn grant_order_and_database_name_do_not_matter() {
        let grants = |database: &str, first: &str, second: &str| {
            let text = format!(
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC;\n\
                 GRANT CONNECT ON DATABASE {database} TO {first};\n\
                 GRANT CONNECT ON DATABASE {database} TO {second};\n"
            );
            let name = format!("DATABASE {database}");
            let entries = [entry("ACL", &name, "", &text, "")];
            read_documents(&write_archive(&entries), database.trim_matches('"'), &[]).unwrap()
        };
        let documents = grants("dunder", "z", "a");
        assert_eq!(documents, grants("\"dm schema\"", "a", "z"));
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
    fn access_method_of_a_table_is_part_of_its_text() {
        let mut table = entry("TABLE", "t", "sales", "CREATE TABLE sales.t (\n);\n", "");
        table.access_method = "columnar".into();
        let documents = read_all(&[table]);
        let text = &documents[0].objects[0].text;
        assert!(
            text.starts_with("SET default_table_access_method = \"columnar\";\n"),
            "{text}"
        );
    }
}
