//! Differences between two sources of schemas, and whether they are breaking.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::object::{SchemaDocument, SchemaObject, SnapshotFormat};
use super::{sql, table};

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The object was added.
    Added,
    /// The object was removed.
    Removed,
    /// The object was changed.
    Changed,
}

/// Whether clients of the old schema still work with the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compatibility {
    /// They do: objects were only added, or constraints relaxed.
    Additive,
    /// They may not.
    Breaking,
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The name of the document.
    pub document: String,
    /// The kind of the object, e.g. `TABLE`.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// Whether the object was added, removed or changed.
    pub change: ChangeKind,
    /// Whether the difference is breaking.
    pub compatibility: Compatibility,
    /// The removed lines.
    pub before: Vec<String>,
    /// The added lines.
    pub after: Vec<String>,
}

/// Returns the differences between two sources. All objects of a document that only one source has
/// are added or removed.
#[must_use]
pub fn compare(before: &[SchemaDocument], after: &[SchemaDocument]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let empty = |document: &SchemaDocument| SchemaDocument {
        objects: Vec::new(),
        ..document.clone()
    };
    for old in before {
        match after.iter().find(|new| new.is_same_document(old)) {
            Some(new) => differences.extend(diff_documents(old, new)),
            None => differences.extend(diff_documents(old, &empty(old))),
        }
    }
    for new in after {
        if before.iter().all(|old| !new.is_same_document(old)) {
            differences.extend(diff_documents(&empty(new), new));
        }
    }
    differences
}

/// The objects by kind and name, which are nearly always unique, but not guaranteed to be.
type ObjectsByKey<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a SchemaObject>>;

fn objects_by_key(document: &SchemaDocument) -> ObjectsByKey<'_> {
    let mut objects = ObjectsByKey::new();
    for object in &document.objects {
        let key = (object.kind.as_str(), object.name.as_str());
        objects.entry(key).or_default().push(object);
    }
    objects
}

fn diff_documents(before: &SchemaDocument, after: &SchemaDocument) -> Vec<Difference> {
    let (old, new) = (objects_by_key(before), objects_by_key(after));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut differences = Vec::new();
    for key in keys {
        let mut old = old.get(key).cloned().unwrap_or_default();
        let mut new = new.get(key).cloned().unwrap_or_default();
        old.retain(|one| {
            let same = new.iter().position(|other| other.text == one.text);
            same.map(|index| new.remove(index)).is_none()
        });
        for index in 0..old.len().max(new.len()) {
            let pair = (old.get(index).copied(), new.get(index).copied());
            differences.extend(diff_object(before, after, pair));
        }
    }
    differences
}

fn diff_object(
    before: &SchemaDocument,
    after: &SchemaDocument,
    pair: (Option<&SchemaObject>, Option<&SchemaObject>),
) -> Option<Difference> {
    let (change, compatibility, (removed, added)) = match pair {
        (Some(old), Some(new)) => {
            let lines = differing_lines(&old.text, &new.text);
            (
                ChangeKind::Changed,
                classify_changed(after.format, old, new),
                lines,
            )
        }
        (Some(old), None) => (
            ChangeKind::Removed,
            classify_removed(old),
            (split_lines(&old.text), Vec::new()),
        ),
        (None, Some(new)) => {
            let lines = (Vec::new(), split_lines(&new.text));
            (ChangeKind::Added, classify_added(before, new), lines)
        }
        (None, None) => return None,
    };
    let object = pair.0.or(pair.1)?;
    Some(Difference {
        document: after.name.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
        change,
        compatibility,
        before: removed,
        after: added,
    })
}

fn split_lines(text: &str) -> Vec<String> {
    text.split('\n').map(str::to_owned).collect()
}

/// Returns the lines that only one of two texts has, without trailing commas.
fn differing_lines(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let without_commas = |text: &str| -> Vec<String> {
        let lines = text
            .split('\n')
            .map(|line| line.trim_end_matches(',').to_owned());
        lines.collect()
    };
    let (old, new) = (without_commas(old), without_commas(new));
    let only_in = |lines: &[String], other: &[String]| -> Vec<String> {
        let mut remaining = other.to_vec();
        let only = lines.iter().filter(|line| {
            let index = remaining.iter().position(|other| other == *line);
            index.map(|index| remaining.swap_remove(index)).is_none()
        });
        only.cloned().collect()
    };
    let (removed, added) = (only_in(&old, &new), only_in(&new, &old));
    if removed.is_empty() && added.is_empty() {
        // The same lines in another order, or other commas.
        return (old, new);
    }
    (removed, added)
}

/// Returns whether an object belongs to an existing table: its name begins with the name of the
/// table.
fn is_on_table(before: &SchemaDocument, object: &SchemaObject) -> bool {
    let tables = before.objects.iter().filter(|table| table.kind == "TABLE");
    tables.into_iter().any(|table| {
        let rest = object.name.strip_prefix(table.name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// Classifies an added object. A constraint is breaking on an existing table, and additive on a new
/// one. An event trigger affects all existing statements.
fn classify_added(before: &SchemaDocument, object: &SchemaObject) -> Compatibility {
    match object.kind.as_str() {
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE"
        | "ROW SECURITY" | "POLICY"
            if is_on_table(before, object) =>
        {
            Compatibility::Breaking
        }
        "EVENT TRIGGER" => Compatibility::Breaking,
        "INDEX"
            if object.text.contains("UNIQUE INDEX") && indexes_existing_table(before, object) =>
        {
            Compatibility::Breaking
        }
        _ => Compatibility::Additive,
    }
}

fn indexes_existing_table(before: &SchemaDocument, index: &SchemaObject) -> bool {
    let schema = sql::quote_if_needed(&before.name);
    before.objects.iter().any(|table| {
        let name = format!("{schema}.{} ", sql::quote_if_needed(&table.name));
        table.kind == "TABLE" && index.text.contains(&name)
    })
}

fn classify_removed(object: &SchemaObject) -> Compatibility {
    let text = &object.text;
    match object.kind.as_str() {
        // Queries work without the index, only slower.
        "INDEX" if !text.contains("UNIQUE INDEX") => Compatibility::Additive,
        // More values are allowed than before.
        "FK CONSTRAINT" | "CHECK CONSTRAINT" => Compatibility::Additive,
        _ => Compatibility::Breaking,
    }
}

fn classify_changed(
    format: SnapshotFormat,
    old: &SchemaObject,
    new: &SchemaObject,
) -> Compatibility {
    if format == SnapshotFormat::Sql && old.kind == "TABLE" {
        classify_table_change(&old.text, &new.text)
    } else if old.kind == "DEFAULT" || old.kind == "COMMENT" {
        Compatibility::Additive
    } else {
        Compatibility::Breaking
    }
}

/// Classifies the change of a table, by its columns and checks.
fn classify_table_change(old: &str, new: &str) -> Compatibility {
    let (old, new) = (table::parse_table(old), table::parse_table(new));
    // A change outside the columns, such as a partition, an option or the owner.
    if old.outer_text != new.outer_text {
        return Compatibility::Breaking;
    }
    let mut compatibility = Compatibility::Additive;
    for (key, new_definition) in &new.definitions {
        let is_check = key.starts_with("CONSTRAINT ");
        let is_breaking = match old.definitions.get(key) {
            Some(old_definition) if old_definition == new_definition => false,
            Some(old_definition) => {
                !(without_not_null(old_definition) == *new_definition
                    || old_definition == &without_default(new_definition))
            }
            None if is_check => true,
            None => {
                new_definition.contains(" NOT NULL")
                    && !new_definition.contains(" DEFAULT ")
                    && !new_definition.contains(" GENERATED ")
            }
        };
        if is_breaking {
            compatibility = Compatibility::Breaking;
        }
    }
    let removed = old
        .definitions
        .keys()
        .filter(|key| !new.definitions.contains_key(*key));
    if removed
        .into_iter()
        .any(|key| !key.starts_with("CONSTRAINT "))
    {
        compatibility = Compatibility::Breaking;
    }
    compatibility
}

/// Returns a column definition without `NOT NULL`.
fn without_not_null(line: &str) -> String {
    line.replace(" NOT NULL", "")
}

/// Returns a column definition without its default.
fn without_default(line: &str) -> String {
    let Some(start) = line.find(" DEFAULT ") else {
        return line.to_owned();
    };
    let end = line.find(" NOT NULL").unwrap_or(line.len());
    format!("{}{}", &line[..start], &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &str) -> SchemaDocument {
        document("TABLE", "a", &format!("CREATE TABLE s.a (\n{columns}\n);"))
    }

    fn document(kind: &str, name: &str, text: &str) -> SchemaDocument {
        SchemaDocument {
            name: "s".into(),
            format: SnapshotFormat::Sql,
            objects: vec![SchemaObject {
                kind: kind.into(),
                name: name.into(),
                text: text.into(),
            }],
        }
    }

    fn with_objects_of(mut document: SchemaDocument, other: SchemaDocument) -> SchemaDocument {
        document.objects.extend(other.objects);
        document
    }

    fn compatibility(before: &SchemaDocument, after: &SchemaDocument) -> Compatibility {
        let differences = compare(std::slice::from_ref(before), std::slice::from_ref(after));
        let compatibilities = differences.iter();
        compatibilities
            .map(|difference| difference.compatibility)
            .max()
            .unwrap()
    }

    #[test]
    fn table_change_is_classified_by_columns_and_checks() {
        let before = table("    id text NOT NULL,\n    note text");
        for (after, expected) in [
            (
                "    id text NOT NULL,\n    note text,\n    more text",
                Compatibility::Additive,
            ),
            (
                "    id text NOT NULL,\n    note text,\n    more text DEFAULT 'x'::text NOT NULL",
                Compatibility::Additive,
            ),
            (
                "    id text NOT NULL,\n    note text,\n    more text NOT NULL",
                Compatibility::Breaking,
            ),
            ("    id text,\n    note text", Compatibility::Additive),
            (
                "    id text NOT NULL,\n    note text NOT NULL",
                Compatibility::Breaking,
            ),
            (
                "    id text NOT NULL,\n    note text DEFAULT ''::text",
                Compatibility::Additive,
            ),
            ("    id text NOT NULL", Compatibility::Breaking),
            (
                "    id bigint NOT NULL,\n    note text",
                Compatibility::Breaking,
            ),
            (
                "    id text NOT NULL,\n    note text,\n    CONSTRAINT c CHECK ((note <> ''::text))",
                Compatibility::Breaking,
            ),
        ] {
            assert_eq!(compatibility(&before, &table(after)), expected, "{after}");
        }
        let checked = table("    id text,\n    CONSTRAINT c CHECK ((id <> ''::text))");
        assert_eq!(
            compatibility(&checked, &table("    id text")),
            Compatibility::Additive
        );
    }

    #[test]
    fn tables_indexes_and_constraints_are_classified() {
        let plain = table("    id text");
        let empty = SchemaDocument {
            objects: Vec::new(),
            ..plain.clone()
        };
        let unique = document(
            "INDEX",
            "a_id",
            "CREATE UNIQUE INDEX a_id ON s.a USING btree (id);",
        );
        let index = document(
            "INDEX",
            "a_id",
            "CREATE INDEX a_id ON s.a USING btree (id);",
        );
        let key = document(
            "CONSTRAINT",
            "a a_pkey",
            "ALTER TABLE ONLY s.a\n    ADD CONSTRAINT a_pkey PRIMARY KEY (id);",
        );
        for (before, after, expected) in [
            (&empty, &plain, Compatibility::Additive),
            (&plain, &empty, Compatibility::Breaking),
            (
                &plain,
                &with_objects_of(plain.clone(), unique.clone()),
                Compatibility::Breaking,
            ),
            (
                &plain,
                &with_objects_of(plain.clone(), index.clone()),
                Compatibility::Additive,
            ),
            (
                &with_objects_of(plain.clone(), index),
                &plain,
                Compatibility::Additive,
            ),
            (
                &with_objects_of(plain.clone(), unique.clone()),
                &plain,
                Compatibility::Breaking,
            ),
            (
                &plain,
                &with_objects_of(plain.clone(), key.clone()),
                Compatibility::Breaking,
            ),
            (
                &empty,
                &with_objects_of(plain.clone(), with_objects_of(key, unique)),
                Compatibility::Additive,
            ),
        ] {
            assert_eq!(
                compatibility(before, after),
                expected,
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn difference_contains_differing_lines_only() {
        let before = table("    id text NOT NULL,\n    note text");
        let after = table("    id text NOT NULL,\n    note text,\n    more text");
        let differences = compare(&[before], &[after]);
        assert_eq!(differences[0].before, [""; 0]);
        assert_eq!(differences[0].after, ["    more text"]);
    }
}
