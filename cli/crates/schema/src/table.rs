//! What a `CREATE TABLE` says: its columns and checks, one by one.

use std::collections::BTreeMap;

use super::sql::{self, Kind, Token};

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// The columns in their order.
    pub(super) columns: Vec<Column>,
    /// Every column and check by its name, as it is written. A check's begins with
    /// `CONSTRAINT `.
    pub(super) lines: BTreeMap<String, String>,
    /// What stands before and after the brackets.
    pub(super) around: (String, String),
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name, without quotes.
    pub(super) name: String,
    /// Its type, as it is written.
    pub(super) kind: String,
}

/// Words that end a column's type.
const AFTER_TYPE: [&str; 9] = [
    "DEFAULT",
    "NOT",
    "NULL",
    "GENERATED",
    "COLLATE",
    "CONSTRAINT",
    "STORAGE",
    "COMPRESSION",
    "OPTIONS",
];

/// Takes a statement apart. One that has no columns gives none.
pub(super) fn parse(text: &str) -> Table {
    let Some((open, parts, close)) = bracketed(text) else {
        return Table {
            around: (text.to_owned(), String::new()),
            ..Table::default()
        };
    };
    let mut table = Table {
        around: (text[..open].to_owned(), text[close..].to_owned()),
        ..Table::default()
    };
    for part in parts {
        let words: Vec<Token<'_>> = sql::tokens(part).filter(|it| !it.is_blank()).collect();
        let Some(first) = words.first() else {
            continue;
        };
        let is_check = first.is("CONSTRAINT") && words.len() > 2;
        let key = match words.get(1) {
            Some(name) if is_check => format!("CONSTRAINT {}", name.name()),
            _ => format!("COLUMN {}", first.name()),
        };
        table.lines.insert(key, part.to_owned());
        if is_check || !matches!(first.kind, Kind::Word | Kind::Name) {
            continue;
        }
        let from = first.start + first.text.len();
        let ends = words.iter().skip(1);
        let end = ends
            .into_iter()
            .find(|it| AFTER_TYPE.iter().any(|word| it.is(word)))
            .map_or(part.len(), |it| it.start);
        table.columns.push(Column {
            name: first.name(),
            kind: part[from..end].trim().to_owned(),
        });
    }
    table
}

/// The parts of the first brackets, between commas, with where the brackets begin and where
/// they end.
pub(super) fn bracketed(text: &str) -> Option<(usize, Vec<&str>, usize)> {
    let mut parts = Vec::new();
    let mut open = None;
    let (mut depth, mut from) = (0_usize, 0);
    for token in sql::tokens(text) {
        if token.is_sign('(') || token.is_sign('[') {
            depth += 1;
            if depth == 1 {
                open = Some(token.start);
                from = token.start + 1;
            }
        } else if token.is_sign(')') || token.is_sign(']') {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                parts.push(text[from..token.start].trim());
                return Some((open?, parts, token.start));
            }
        } else if token.is_sign(',') && depth == 1 {
            parts.push(text[from..token.start].trim());
            from = token.start + 1;
        }
    }
    None
}

/// The names in the brackets after a phrase, e.g. `FOREIGN KEY (a, "b c")`, and what follows.
pub(super) fn names_after<'a>(text: &'a str, phrase: &[&str]) -> Option<(Vec<String>, &'a str)> {
    let words: Vec<Token<'_>> = sql::tokens(text).filter(|it| !it.is_blank()).collect();
    let found = words
        .windows(phrase.len())
        .position(|window| window.iter().zip(phrase).all(|(it, word)| it.is(word)))?;
    let rest = &text[words.get(found + phrase.len())?.start..];
    let (open, parts, close) = bracketed(rest)?;
    if open != 0 {
        return None;
    }
    let names = parts.iter().filter_map(|part| {
        let mut tokens = sql::tokens(part).filter(|it| !it.is_blank());
        Some(tokens.next()?.name())
    });
    Some((names.collect(), &rest[close + 1..]))
}

/// The table that `REFERENCES` names, by schema and by name.
pub(super) fn referenced(text: &str) -> Option<(Option<String>, String)> {
    let mut tokens = sql::tokens(text).filter(|it| !it.is_blank());
    tokens.find(|it| it.is("REFERENCES"))?;
    let first = tokens.next()?.name();
    if tokens.next()?.is_sign('.') {
        return Some((Some(first), tokens.next()?.name()));
    }
    Some((None, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_told_whatever_they_are_called() {
        let table = parse(
            "CREATE TABLE s.\"a (b\" (\n    \"x, y\" character varying(20)[] DEFAULT 'a,b)'::text NOT NULL,\n    \
             z numeric(12,2) GENERATED ALWAYS AS ((1 + 2)) STORED,\n    \
             \"CONSTRAINT\" integer,\n    CONSTRAINT \"c d\" CHECK ((z > (0)::numeric))\n)\nPARTITION BY RANGE (z);",
        );
        let columns: Vec<(&str, &str)> = table
            .columns
            .iter()
            .map(|it| (it.name.as_str(), it.kind.as_str()))
            .collect();
        assert_eq!(
            columns,
            [
                ("x, y", "character varying(20)[]"),
                ("z", "numeric(12,2)"),
                ("CONSTRAINT", "integer")
            ]
        );
        assert_eq!(
            table.lines["CONSTRAINT c d"],
            "CONSTRAINT \"c d\" CHECK ((z > (0)::numeric))"
        );
        assert_eq!(table.around.1, ")\nPARTITION BY RANGE (z);");
    }

    #[test]
    fn keys_are_told_whatever_they_are_called() {
        let text = "ALTER TABLE ONLY s.\"FOREIGN KEY (\"\n    ADD CONSTRAINT x FOREIGN KEY (a, \"b, c\") REFERENCES \"S\".\"t u\"(a, b);";
        let (names, rest) = names_after(text, &["FOREIGN", "KEY"]).unwrap();
        assert_eq!(names, ["a", "b, c"]);
        assert_eq!(referenced(rest), Some((Some("S".into()), "t u".into())));
        assert_eq!(names_after("ALTER TABLE x", &["PRIMARY", "KEY"]), None);
    }
}
