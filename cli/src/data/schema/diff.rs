//! What is other, and whether that breaks somebody.

use std::collections::BTreeMap;

use serde::Serialize;

use super::diagram::lines;
use super::object::{Document, Form, Object};

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
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
pub enum Class {
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
    pub change: Change,
    /// Whether that breaks somebody.
    pub class: Class,
    /// What went.
    pub before: Vec<String>,
    /// What came.
    pub after: Vec<String>,
}

/// What has changed from one to the other. All of a document that only one of them has was
/// added, or removed.
#[must_use]
pub fn compare(before: &[Document], after: &[Document]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let empty = |document: &Document| Document {
        objects: Vec::new(),
        ..document.clone()
    };
    for old in before {
        match after.iter().find(|new| new.name == old.name) {
            Some(new) => differences.extend(parts(old, new)),
            None => differences.extend(parts(old, &empty(old))),
        }
    }
    for new in after {
        if before.iter().all(|old| old.name != new.name) {
            differences.extend(parts(&empty(new), new));
        }
    }
    differences
}

fn parts(before: &Document, after: &Document) -> Vec<Difference> {
    let by_key = |document: &'_ Document| -> BTreeMap<(String, String), Object> {
        document
            .objects
            .iter()
            .map(|object| ((object.kind.clone(), object.name.clone()), object.clone()))
            .collect()
    };
    let (old, new) = (by_key(before), by_key(after));
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let difference = |key: &&(String, String)| {
        let (old, new) = (old.get(*key), new.get(*key));
        let (change, class, lines) = match (old, new) {
            (Some(old), Some(new)) if old.text == new.text => return None,
            (Some(old), Some(new)) => {
                let lines = other_lines(&old.text, &new.text);
                (Change::Changed, changed(after.form, old, new), lines)
            }
            (Some(old), None) => {
                let lines = (texts(&old.text), Vec::new());
                (Change::Removed, removed(old), lines)
            }
            (None, new) => {
                let new = new?;
                let lines = (Vec::new(), texts(&new.text));
                (Change::Added, added(before, new), lines)
            }
        };
        let (before, new_lines) = lines;
        Some(Difference {
            document: after.name.clone(),
            kind: key.0.clone(),
            name: key.1.clone(),
            change,
            class,
            before,
            after: new_lines,
        })
    };
    keys.iter().filter_map(difference).collect()
}

fn texts(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The lines that only one of two texts has, without the commas that a next line needs.
fn other_lines(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let plain = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
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
    (only(&old, &new), only(&new, &old))
}

/// A constraint on a table that was there forbids what was allowed; on a new one it breaks
/// nobody.
fn added(before: &Document, object: &Object) -> Class {
    let table = object.name.split(' ').next().unwrap_or_default();
    let was_there = before
        .objects
        .iter()
        .any(|it| it.kind == "TABLE" && it.name == table);
    match object.kind.as_str() {
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" if was_there => {
            Class::Breaking
        }
        "INDEX" if object.text.contains("UNIQUE INDEX") && indexes_old(before, object) => {
            Class::Breaking
        }
        _ => Class::Additive,
    }
}

fn indexes_old(before: &Document, index: &Object) -> bool {
    before.objects.iter().any(|it| {
        it.kind == "TABLE"
            && index
                .text
                .contains(&format!("{}.{} ", before.name, it.name))
    })
}

fn removed(object: &Object) -> Class {
    let text = &object.text;
    match object.kind.as_str() {
        // What it held up can be done without it, only slower.
        "INDEX" if !text.contains("UNIQUE INDEX") => Class::Additive,
        // More is allowed than was.
        "FK CONSTRAINT" | "CHECK CONSTRAINT" => Class::Additive,
        _ => Class::Breaking,
    }
}

fn changed(form: Form, old: &Object, new: &Object) -> Class {
    if form == Form::Sql && old.kind == "TABLE" {
        columns(&old.text, &new.text)
    } else if old.kind == "DEFAULT" || old.kind == "COMMENT" {
        Class::Additive
    } else {
        Class::Breaking
    }
}

/// A table's change, by its columns and checks.
fn columns(old: &str, new: &str) -> Class {
    fn by_name(text: &str) -> BTreeMap<String, String> {
        lines(text)
            .into_iter()
            .map(|line| {
                let words: Vec<&str> = line.splitn(3, ' ').collect();
                match words.as_slice() {
                    ["CONSTRAINT", name, ..] => (format!("CONSTRAINT {name}"), line.to_owned()),
                    [name, ..] => ((*name).to_owned(), line.to_owned()),
                    [] => (String::new(), String::new()),
                }
            })
            .collect()
    }
    let (old_lines, new_lines) = (by_name(old), by_name(new));
    // Something besides the columns, such as a partition or an option.
    let rest = |text: &str| text.split_once("\n)").map(|(_, rest)| rest.to_owned());
    if rest(old) != rest(new) {
        return Class::Breaking;
    }
    let mut class = Class::Additive;
    for (name, line) in &new_lines {
        let is_check = name.starts_with("CONSTRAINT ");
        let breaks = match old_lines.get(name) {
            Some(before) if before == line => false,
            Some(before) => !(relaxed(before) == *line || before == &undefaulted(line)),
            None if is_check => true,
            None => {
                line.contains(" NOT NULL")
                    && !line.contains(" DEFAULT ")
                    && !line.contains(" GENERATED ")
            }
        };
        if breaks {
            class = Class::Breaking;
        }
    }
    let gone = old_lines
        .keys()
        .filter(|name| !new_lines.contains_key(*name));
    if gone
        .into_iter()
        .any(|name| !name.starts_with("CONSTRAINT "))
    {
        class = Class::Breaking;
    }
    class
}

/// A column that may hold nothing.
fn relaxed(line: &str) -> String {
    line.replace(" NOT NULL", "")
}

/// A column that has no value by itself.
fn undefaulted(line: &str) -> String {
    let Some(start) = line.find(" DEFAULT ") else {
        return line.to_owned();
    };
    let end = line.find(" NOT NULL").unwrap_or(line.len());
    format!("{}{}", &line[..start], &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &str) -> Document {
        of("TABLE", "a", &format!("CREATE TABLE s.a (\n{columns}\n);"))
    }

    fn of(kind: &str, name: &str, text: &str) -> Document {
        Document {
            name: "s".into(),
            form: Form::Sql,
            objects: vec![Object {
                kind: kind.into(),
                name: name.into(),
                text: text.into(),
            }],
        }
    }

    fn with(mut document: Document, other: Document) -> Document {
        document.objects.extend(other.objects);
        document
    }

    fn class(before: &Document, after: &Document) -> Class {
        let differences = compare(std::slice::from_ref(before), std::slice::from_ref(after));
        differences.iter().map(|it| it.class).max().unwrap()
    }

    #[test]
    fn columns_say_whether_a_table_still_serves() {
        let before = table("    id text NOT NULL,\n    note text");
        for (after, expected) in [
            (
                "    id text NOT NULL,\n    note text,\n    more text",
                Class::Additive,
            ),
            (
                "    id text NOT NULL,\n    note text,\n    more text DEFAULT 'x'::text NOT NULL",
                Class::Additive,
            ),
            (
                "    id text NOT NULL,\n    note text,\n    more text NOT NULL",
                Class::Breaking,
            ),
            ("    id text,\n    note text", Class::Additive),
            (
                "    id text NOT NULL,\n    note text NOT NULL",
                Class::Breaking,
            ),
            (
                "    id text NOT NULL,\n    note text DEFAULT ''::text",
                Class::Additive,
            ),
            ("    id text NOT NULL", Class::Breaking),
            ("    id bigint NOT NULL,\n    note text", Class::Breaking),
            (
                "    id text NOT NULL,\n    note text,\n    CONSTRAINT c CHECK ((note <> ''::text))",
                Class::Breaking,
            ),
        ] {
            assert_eq!(class(&before, &table(after)), expected, "{after}");
        }
        let checked = table("    id text,\n    CONSTRAINT c CHECK ((id <> ''::text))");
        assert_eq!(class(&checked, &table("    id text")), Class::Additive);
    }

    #[test]
    fn what_is_around_a_table_counts_too() {
        let plain = table("    id text");
        let empty = Document {
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
            (&empty, &plain, Class::Additive),
            (&plain, &empty, Class::Breaking),
            (
                &plain,
                &with(plain.clone(), unique.clone()),
                Class::Breaking,
            ),
            (&plain, &with(plain.clone(), index.clone()), Class::Additive),
            (&with(plain.clone(), index), &plain, Class::Additive),
            (
                &with(plain.clone(), unique.clone()),
                &plain,
                Class::Breaking,
            ),
            (&plain, &with(plain.clone(), key.clone()), Class::Breaking),
            (
                &empty,
                &with(plain.clone(), with(key, unique)),
                Class::Additive,
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
