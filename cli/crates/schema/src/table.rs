//! The columns and checks of a `CREATE TABLE` statement.

use std::collections::BTreeMap;

use super::sql::{self, Token, TokenKind};

/// The definition of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TableDefinition {
    /// The columns in their order.
    pub(super) columns: Vec<ColumnDefinition>,
    /// The text of every column and check, by `COLUMN ` or `CONSTRAINT ` and its name.
    pub(super) definitions: BTreeMap<String, String>,
    /// The text before and after the brackets.
    pub(super) outer_text: (String, String),
}

/// The definition of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnDefinition {
    /// The name, without quotes.
    pub(super) name: String,
    /// The type, as written.
    pub(super) data_type: String,
}

/// Keywords after the type of a column.
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

/// Parses a statement. Without brackets, the definition has no columns.
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
        let tokens: Vec<Token<'_>> = sql::tokenize(part)
            .filter(|token| !token.is_blank())
            .collect();
        let Some(first) = tokens.first() else {
            continue;
        };
        let is_check = first.is_keyword("CONSTRAINT") && tokens.len() > 2;
        let key = match tokens.get(1) {
            Some(name) if is_check => format!("CONSTRAINT {}", name.identifier()),
            _ => format!("COLUMN {}", first.identifier()),
        };
        table.definitions.insert(key, part.to_owned());
        if is_check || !matches!(first.kind, TokenKind::Word | TokenKind::QuotedIdentifier) {
            continue;
        }
        let type_start = first.start + first.text.len();
        let following = tokens.iter().skip(1);
        let type_end = following
            .into_iter()
            .find(|token| TYPE_TERMINATORS.iter().any(|word| token.is_keyword(word)))
            .map_or(part.len(), |token| token.start);
        table.columns.push(ColumnDefinition {
            name: first.identifier(),
            data_type: part[type_start..type_end].trim().to_owned(),
        });
    }
    table
}

/// Returns the parts of the first brackets, between commas, with the offsets of both brackets.
pub(super) fn split_brackets(text: &str) -> Option<(usize, Vec<&str>, usize)> {
    let mut parts = Vec::new();
    let mut open = None;
    let (mut depth, mut start) = (0_usize, 0);
    for token in sql::tokenize(text) {
        if token.is_punctuation('(') || token.is_punctuation('[') {
            depth += 1;
            if depth == 1 {
                open = Some(token.start);
                start = token.start + 1;
            }
        } else if token.is_punctuation(')') || token.is_punctuation(']') {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                parts.push(text[start..token.start].trim());
                return Some((open?, parts, token.start));
            }
        } else if token.is_punctuation(',') && depth == 1 {
            parts.push(text[start..token.start].trim());
            start = token.start + 1;
        }
    }
    None
}

/// Returns the names in the brackets after a phrase, e.g. `FOREIGN KEY (a, "b c")`, and the text
/// after them.
pub(super) fn names_after_phrase<'a>(
    text: &'a str,
    phrase: &[&str],
) -> Option<(Vec<String>, &'a str)> {
    let tokens: Vec<Token<'_>> = sql::tokenize(text)
        .filter(|token| !token.is_blank())
        .collect();
    let index = tokens.windows(phrase.len()).position(|window| {
        window
            .iter()
            .zip(phrase)
            .all(|(token, word)| token.is_keyword(word))
    })?;
    let rest = &text[tokens.get(index + phrase.len())?.start..];
    let (open, parts, close) = split_brackets(rest)?;
    if open != 0 {
        return None;
    }
    let names = parts.iter().filter_map(|part| {
        let mut tokens = sql::tokenize(part).filter(|token| !token.is_blank());
        Some(tokens.next()?.identifier())
    });
    Some((names.collect(), &rest[close + 1..]))
}

/// Returns the schema and name of the table after `REFERENCES`.
pub(super) fn referenced_table(text: &str) -> Option<(Option<String>, String)> {
    let mut tokens = sql::tokenize(text).filter(|token| !token.is_blank());
    tokens.find(|token| token.is_keyword("REFERENCES"))?;
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
    fn parse_table_handles_special_characters_in_names() {
        let table = parse_table(
            "CREATE TABLE s.\"a (b\" (\n    \"x, y\" character varying(20)[] DEFAULT 'a,b)'::text NOT NULL,\n    \
             z numeric(12,2) GENERATED ALWAYS AS ((1 + 2)) STORED,\n    \
             \"CONSTRAINT\" integer,\n    CONSTRAINT \"c d\" CHECK ((z > (0)::numeric))\n)\nPARTITION BY RANGE (z);",
        );
        let columns: Vec<(&str, &str)> = table
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.data_type.as_str()))
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
    fn foreign_keys_are_found_despite_special_characters_in_names() {
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
