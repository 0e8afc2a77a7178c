//! What is other, and whether that breaks somebody.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::object::{SchemaDocument, SchemaObject, SnapshotFormat};
use super::{sql, table};

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It is other than it was.
    Changed,
}

/// Whether whoever relied on what was there can still do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compatibility {
    /// It can: there is only more than there was, or more is allowed.
    Additive,
    /// It may not.
    Breaking,
}

/// A part that is other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The schema, or what else it is part of.
    pub document: String,
    /// What it is, e.g. `TABLE`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: ChangeKind,
    /// Whether that breaks somebody.
    pub class: Compatibility,
    /// What went.
    pub before: Vec<String>,
    /// What came.
    pub after: Vec<String>,
}

/// What has changed from one to the other. All of a document that only one of them has was
/// added, or removed.
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

/// The parts of one kind and name: nearly always one, but nothing promises that.
type ObjectsByKey<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a SchemaObject>>;

fn objects_by_key(document: &SchemaDocument) -> ObjectsByKey<'_> {
    let mut parts = ObjectsByKey::new();
    for object in &document.objects {
        let key = (object.kind.as_str(), object.name.as_str());
        parts.entry(key).or_default().push(object);
    }
    parts
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
            same.map(|place| new.remove(place)).is_none()
        });
        for place in 0..old.len().max(new.len()) {
            let pair = (old.get(place).copied(), new.get(place).copied());
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
    let (change, class, (gone, come)) = match pair {
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
        class,
        before: gone,
        after: come,
    })
}

fn split_lines(text: &str) -> Vec<String> {
    text.split('\n').map(str::to_owned).collect()
}

/// The lines that only one of two texts has, without the commas that a next line needs.
fn differing_lines(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let plain = |text: &str| -> Vec<String> {
        let lines = text
            .split('\n')
            .map(|line| line.trim_end_matches(',').to_owned());
        lines.collect()
    };
    let (old, new) = (plain(old), plain(new));
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        let mut left = other.to_vec();
        let only = one.iter().filter(|line| {
            let found = left.iter().position(|it| it == *line);
            found.map(|place| left.swap_remove(place)).is_none()
        });
        only.cloned().collect()
    };
    let (gone, come) = (only(&old, &new), only(&new, &old));
    if gone.is_empty() && come.is_empty() {
        // The same lines in another order, or other commas.
        return (old, new);
    }
    (gone, come)
}

/// What a table is told by in the names of what is on it.
fn is_on_table(before: &SchemaDocument, object: &SchemaObject) -> bool {
    let tables = before.objects.iter().filter(|it| it.kind == "TABLE");
    tables.into_iter().any(|table| {
        let rest = object.name.strip_prefix(table.name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// What forbids something on a table that was there breaks somebody; on a new one it breaks
/// nobody. What acts on every statement does so for all that was there.
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
    before.objects.iter().any(|it| {
        let table = format!("{schema}.{} ", sql::quote_if_needed(&it.name));
        it.kind == "TABLE" && index.text.contains(&table)
    })
}

fn classify_removed(object: &SchemaObject) -> Compatibility {
    let text = &object.text;
    match object.kind.as_str() {
        // What it held up can be done without it, only slower.
        "INDEX" if !text.contains("UNIQUE INDEX") => Compatibility::Additive,
        // More is allowed than was.
        "FK CONSTRAINT" | "CHECK CONSTRAINT" => Compatibility::Additive,
        _ => Compatibility::Breaking,
    }
}

fn classify_changed(form: SnapshotFormat, old: &SchemaObject, new: &SchemaObject) -> Compatibility {
    if form == SnapshotFormat::Sql && old.kind == "TABLE" {
        classify_table_change(&old.text, &new.text)
    } else if old.kind == "DEFAULT" || old.kind == "COMMENT" {
        Compatibility::Additive
    } else {
        Compatibility::Breaking
    }
}

/// A table's change, by its columns and checks.
fn classify_table_change(old: &str, new: &str) -> Compatibility {
    let (old, new) = (table::parse_table(old), table::parse_table(new));
    // Something besides the columns, such as a partition, an option or the owner.
    if old.outer_text != new.outer_text {
        return Compatibility::Breaking;
    }
    let mut class = Compatibility::Additive;
    for (key, line) in &new.definitions {
        let is_check = key.starts_with("CONSTRAINT ");
        let breaks = match old.definitions.get(key) {
            Some(before) if before == line => false,
            Some(before) => {
                !(without_not_null(before) == *line || before == &without_default(line))
            }
            None if is_check => true,
            None => {
                line.contains(" NOT NULL")
                    && !line.contains(" DEFAULT ")
                    && !line.contains(" GENERATED ")
            }
        };
        if breaks {
            class = Compatibility::Breaking;
        }
    }
    let gone = old
        .definitions
        .keys()
        .filter(|key| !new.definitions.contains_key(*key));
    if gone.into_iter().any(|key| !key.starts_with("CONSTRAINT ")) {
        class = Compatibility::Breaking;
    }
    class
}

/// A column that may hold nothing.
fn without_not_null(line: &str) -> String {
    line.replace(" NOT NULL", "")
}

/// A column that has no value by itself.
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
        of("TABLE", "a", &format!("CREATE TABLE s.a (\n{columns}\n);"))
    }

    fn of(kind: &str, name: &str, text: &str) -> SchemaDocument {
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

    fn with(mut document: SchemaDocument, other: SchemaDocument) -> SchemaDocument {
        document.objects.extend(other.objects);
        document
    }

    fn class(before: &SchemaDocument, after: &SchemaDocument) -> Compatibility {
        let differences = compare(std::slice::from_ref(before), std::slice::from_ref(after));
        differences.iter().map(|it| it.class).max().unwrap()
    }

    #[test]
    fn columns_say_whether_a_table_still_serves() {
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
            assert_eq!(class(&before, &table(after)), expected, "{after}");
        }
        let checked = table("    id text,\n    CONSTRAINT c CHECK ((id <> ''::text))");
        assert_eq!(
            class(&checked, &table("    id text")),
            Compatibility::Additive
        );
    }

    #[test]
    fn what_is_around_a_table_counts_too() {
        let plain = table("    id text");
        let empty = SchemaDocument {
            objects: Vec::new(),
            ..plain.clone()
        };
        let unique = of(
            "INDEX",
            "a_id",
            "CREATE UNIQUE INDEX a_id ON s.a USING btree (id);",
        );
        let index = of(
            "INDEX",
            "a_id",
            "CREATE INDEX a_id ON s.a USING btree (id);",
        );
        let key = of(
            "CONSTRAINT",
            "a a_pkey",
            "ALTER TABLE ONLY s.a\n    ADD CONSTRAINT a_pkey PRIMARY KEY (id);",
        );
        for (before, after, expected) in [
            (&empty, &plain, Compatibility::Additive),
            (&plain, &empty, Compatibility::Breaking),
            (
                &plain,
                &with(plain.clone(), unique.clone()),
                Compatibility::Breaking,
            ),
            (
                &plain,
                &with(plain.clone(), index.clone()),
                Compatibility::Additive,
            ),
            (&with(plain.clone(), index), &plain, Compatibility::Additive),
            (
                &with(plain.clone(), unique.clone()),
                &plain,
                Compatibility::Breaking,
            ),
            (
                &plain,
                &with(plain.clone(), key.clone()),
                Compatibility::Breaking,
            ),
            (
                &empty,
                &with(plain.clone(), with(key, unique)),
                Compatibility::Additive,
            ),
        ] {
            assert_eq!(class(before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_difference_shows_the_lines_that_are_other() {
        let before = table("    id text NOT NULL,\n    note text");
        let after = table("    id text NOT NULL,\n    note text,\n    more text");
        let found = compare(&[before], &[after]);
        assert_eq!(found[0].before, [""; 0]);
        assert_eq!(found[0].after, ["    more text"]);
    }
}
