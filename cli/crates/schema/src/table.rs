//! What a `CREATE TABLE` says: its columns and checks, one by one.

use std::collections::BTreeMap;

use super::sql::{self, Token, TokenKind};

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TableDefinition {
    /// The columns in their order.
    pub(super) columns: Vec<ColumnDefinition>,
    /// Every column and check by its name, as it is written. A check's begins with
    /// `CONSTRAINT `.
    pub(super) definitions: BTreeMap<String, String>,
    /// What stands before and after the brackets.
    pub(super) outer_text: (String, String),
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnDefinition {
    /// Its name, without quotes.
    pub(super) name: String,
    /// Its type, as it is written.
    pub(super) data_type: String,
}

/// Words that end a column's type.
const TYPE_TERMINATORS: [&str; 9] = [
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
pub(super) fn parse_table(text: &str) -> TableDefinition {
    let Some((open, parts, close)) = split_brackets(text) else {
        return TableDefinition {
            outer_text: (text.to_owned(), String::new()),
            ..TableDefinition::default()
        };
    };
    let mut table = TableDefinition {
        outer_text: (text[..open].to_owned(), text[close..].to_owned()),
        ..TableDefinition::default()
    };
    for part in parts {
        let words: Vec<Token<'_>> = sql::tokenize(part).filter(|it| !it.is_blank()).collect();
        let Some(first) = words.first() else {
            continue;
        };
        let is_check = first.is_keyword("CONSTRAINT") && words.len() > 2;
        let key = match words.get(1) {
            Some(name) if is_check => format!("CONSTRAINT {}", name.identifier()),
            _ => format!("COLUMN {}", first.identifier()),
        };
        table.definitions.insert(key, part.to_owned());
        if is_check || !matches!(first.kind, TokenKind::Word | TokenKind::QuotedIdentifier) {
            continue;
        }
        let from = first.start + first.text.len();
        let ends = words.iter().skip(1);
        let end = ends
            .into_iter()
            .find(|it| TYPE_TERMINATORS.iter().any(|word| it.is_keyword(word)))
            .map_or(part.len(), |it| it.start);
        table.columns.push(ColumnDefinition {
            name: first.identifier(),
            data_type: part[from..end].trim().to_owned(),
        });
    }
    table
}

/// The parts of the first brackets, between commas, with where the brackets begin and where
/// they end.
pub(super) fn split_brackets(text: &str) -> Option<(usize, Vec<&str>, usize)> {
    let mut parts = Vec::new();
    let mut open = None;
    let (mut depth, mut from) = (0_usize, 0);
    for token in sql::tokenize(text) {
        if token.is_punctuation('(') || token.is_punctuation('[') {
            depth += 1;
            if depth == 1 {
                open = Some(token.start);
                from = token.start + 1;
            }
        } else if token.is_punctuation(')') || token.is_punctuation(']') {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                parts.push(text[from..token.start].trim());
                return Some((open?, parts, token.start));
            }
        } else if token.is_punctuation(',') && depth == 1 {
            parts.push(text[from..token.start].trim());
            from = token.start + 1;
        }
    }
    None
}

/// The names in the brackets after a phrase, e.g. `FOREIGN KEY (a, "b c")`, and what follows.
pub(super) fn names_after_phrase<'a>(
    text: &'a str,
    phrase: &[&str],
) -> Option<(Vec<String>, &'a str)> {
    let words: Vec<Token<'_>> = sql::tokenize(text).filter(|it| !it.is_blank()).collect();
    let found = words.windows(phrase.len()).position(|window| {
        window
            .iter()
            .zip(phrase)
            .all(|(it, word)| it.is_keyword(word))
    })?;
    let rest = &text[words.get(found + phrase.len())?.start..];
    let (open, parts, close) = split_brackets(rest)?;
    if open != 0 {
        return None;
    }
    let names = parts.iter().filter_map(|part| {
        let mut tokens = sql::tokenize(part).filter(|it| !it.is_blank());
        Some(tokens.next()?.identifier())
    });
    Some((names.collect(), &rest[close + 1..]))
}

/// The table that `REFERENCES` names, by schema and by name.
pub(super) fn referenced_table(text: &str) -> Option<(Option<String>, String)> {
    let mut tokens = sql::tokenize(text).filter(|it| !it.is_blank());
    tokens.find(|it| it.is_keyword("REFERENCES"))?;
    let first = tokens.next()?.identifier();
    if tokens.next()?.is_punctuation('.') {
        return Some((Some(first), tokens.next()?.identifier()));
    }
    Some((None, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_told_whatever_they_are_called() {
        let table = parse_table(
            "CREATE TABLE s.\"a (b\" (\n    \"x, y\" character varying(20)[] DEFAULT 'a,b)'::text NOT NULL,\n    \
             z numeric(12,2) GENERATED ALWAYS AS ((1 + 2)) STORED,\n    \
             \"CONSTRAINT\" integer,\n    CONSTRAINT \"c d\" CHECK ((z > (0)::numeric))\n)\nPARTITION BY RANGE (z);",
        );
        let columns: Vec<(&str, &str)> = table
            .columns
            .iter()
            .map(|it| (it.name.as_str(), it.data_type.as_str()))
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
            table.definitions["CONSTRAINT c d"],
            "CONSTRAINT \"c d\" CHECK ((z > (0)::numeric))"
        );
        assert_eq!(table.outer_text.1, ")\nPARTITION BY RANGE (z);");
    }

    #[test]
    fn keys_are_told_whatever_they_are_called() {
        let text = "ALTER TABLE ONLY s.\"FOREIGN KEY (\"\n    ADD CONSTRAINT x FOREIGN KEY (a, \"b, c\") REFERENCES \"S\".\"t u\"(a, b);";
        let (names, rest) = names_after_phrase(text, &["FOREIGN", "KEY"]).unwrap();
        assert_eq!(names, ["a", "b, c"]);
        assert_eq!(
            referenced_table(rest),
            Some((Some("S".into()), "t u".into()))
        );
        assert_eq!(
            names_after_phrase("ALTER TABLE x", &["PRIMARY", "KEY"]),
            None
        );
    }
}
