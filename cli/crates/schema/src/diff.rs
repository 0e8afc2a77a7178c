//! What is other, and whether that breaks somebody.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::object::{Document, Form, Object};
use super::{sql, table};

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
        match after.iter().find(|new| new.is_of(old)) {
            Some(new) => differences.extend(parts(old, new)),
            None => differences.extend(parts(old, &empty(old))),
        }
    }
    for new in after {
        if before.iter().all(|old| !new.is_of(old)) {
            differences.extend(parts(&empty(new), new));
        }
    }
    differences
}

/// The parts of one kind and name: nearly always one, but nothing promises that.
type Parts<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Object>>;

fn by_key(document: &Document) -> Parts<'_> {
    let mut parts = Parts::new();
    for object in &document.objects {
        let key = (object.kind.as_str(), object.name.as_str());
        parts.entry(key).or_default().push(object);
    }
    parts
}

fn parts(before: &Document, after: &Document) -> Vec<Difference> {
    let (old, new) = (by_key(before), by_key(after));
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
            differences.extend(difference(before, after, pair));
        }
    }
    differences
}

fn difference(
    before: &Document,
    after: &Document,
    pair: (Option<&Object>, Option<&Object>),
) -> Option<Difference> {
    let (change, class, (gone, come)) = match pair {
        (Some(old), Some(new)) => {
            let lines = other_lines(&old.text, &new.text);
            (Change::Changed, changed(after.form, old, new), lines)
        }
        (Some(old), None) => (
            Change::Removed,
            removed(old),
            (texts(&old.text), Vec::new()),
        ),
        (None, Some(new)) => {
            let lines = (Vec::new(), texts(&new.text));
            (Change::Added, added(before, new), lines)
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

fn texts(text: &str) -> Vec<String> {
    text.split('\n').map(str::to_owned).collect()
}

/// The lines that only one of two texts has, without the commas that a next line needs.
fn other_lines(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
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
fn is_on_table(before: &Document, object: &Object) -> bool {
    let tables = before.objects.iter().filter(|it| it.kind == "TABLE");
    tables.into_iter().any(|table| {
        let rest = object.name.strip_prefix(table.name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// What forbids something on a table that was there breaks somebody; on a new one it breaks
/// nobody. What acts on every statement does so for all that was there.
fn added(before: &Document, object: &Object) -> Class {
    match object.kind.as_str() {
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE"
        | "ROW SECURITY" | "POLICY"
            if is_on_table(before, object) =>
        {
            Class::Breaking
        }
        "EVENT TRIGGER" => Class::Breaking,
        "INDEX" if object.text.contains("UNIQUE INDEX") && indexes_old(before, object) => {
            Class::Breaking
        }
        _ => Class::Additive,
    }
}

fn indexes_old(before: &Document, index: &Object) -> bool {
    let schema = sql::short(&before.name);
    before.objects.iter().any(|it| {
        let table = format!("{schema}.{} ", sql::short(&it.name));
        it.kind == "TABLE" && index.text.contains(&table)
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
    let (old, new) = (table::parse(old), table::parse(new));
    // Something besides the columns, such as a partition, an option or the owner.
    if old.around != new.around {
        return Class::Breaking;
    }
    let mut class = Class::Additive;
    for (key, line) in &new.lines {
        let is_check = key.starts_with("CONSTRAINT ");
        let breaks = match old.lines.get(key) {
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
    let gone = old.lines.keys().filter(|key| !new.lines.contains_key(*key));
    if gone.into_iter().any(|key| !key.starts_with("CONSTRAINT ")) {
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
