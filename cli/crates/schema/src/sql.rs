//! The tokens of SQL, like those of PostgreSQL's lexer: enough to distinguish strings, quoted names
//! and comments from other text.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// White space.
    Whitespace,
    /// A comment of either form.
    Comment,
    /// A keyword, a name without quotes, or a number.
    Word,
    /// A name in quotes.
    QuotedIdentifier,
    /// A string: `'…'`, `E'…'` or `$tag$…$tag$`.
    StringLiteral,
    /// Anything else, one character each.
    Punctuation,
    /// A string, name or comment without an end, up to the end of the text.
    Unterminated,
}

/// A token of an SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The kind of the token.
    pub(super) kind: TokenKind,
    /// The offset in the text, in bytes.
    pub(super) start: usize,
    /// The text of the token, quotes included.
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// Returns whether the token is this keyword.
    pub(super) fn is_keyword(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Returns whether the token is this punctuation character.
    pub(super) fn is_punctuation(&self, character: char) -> bool {
        self.kind == TokenKind::Punctuation && self.text.starts_with(character)
    }

    /// Returns whether the token is white space or a comment.
    pub(super) const fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Whitespace | TokenKind::Comment)
    }

    /// Returns the name without quotes.
    pub(super) fn identifier(&self) -> String {
        match self.kind {
            TokenKind::QuotedIdentifier => self.text[1..self.text.len() - 1].replace("\"\"", "\""),
            _ => self.text.to_owned(),
        }
    }
}

/// Splits a text into tokens, which together are the whole text.
pub(super) fn tokenize(text: &str) -> Tokenizer<'_> {
    Tokenizer { text, position: 0 }
}

/// An iterator over the tokens of a text.
#[derive(Debug, Clone)]
pub(super) struct Tokenizer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Iterator for Tokenizer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = &self.text[self.position..];
        let first = rest.chars().next()?;
        let (kind, length) = match first {
            _ if first.is_ascii_whitespace() => (
                TokenKind::Whitespace,
                prefix_length(rest, |character| character.is_ascii_whitespace()),
            ),
            '-' if rest.starts_with("--") => (
                TokenKind::Comment,
                prefix_length(rest, |character| character != '\n'),
            ),
            '/' if rest.starts_with("/*") => {
                token_or_unterminated(TokenKind::Comment, block_comment_end(rest), rest)
            }
            '\'' => token_or_unterminated(
                TokenKind::StringLiteral,
                quoted_end(rest, '\'', false),
                rest,
            ),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                let end = quoted_end(&rest[1..], '\'', true).map(|end| end + 1);
                token_or_unterminated(TokenKind::StringLiteral, end, rest)
            }
            '"' => token_or_unterminated(
                TokenKind::QuotedIdentifier,
                quoted_end(rest, '"', false),
                rest,
            ),
            '$' => match dollar_tag(rest) {
                Some(tag) => {
                    let end = rest[tag.len()..].find(tag);
                    token_or_unterminated(
                        TokenKind::StringLiteral,
                        end.map(|end| end + 2 * tag.len()),
                        rest,
                    )
                }
                None => (TokenKind::Punctuation, 1),
            },
            _ if is_word_char(first) => (
                TokenKind::Word,
                prefix_length(rest, |character| {
                    is_word_char(character) || character == '$'
                }),
            ),
            _ => (TokenKind::Punctuation, first.len_utf8()),
        };
        let start = self.position;
        self.position += length;
        Some(Token {
            kind,
            start,
            text: &self.text[start..self.position],
        })
    }
}

fn token_or_unterminated(kind: TokenKind, end: Option<usize>, rest: &str) -> (TokenKind, usize) {
    end.map_or((TokenKind::Unterminated, rest.len()), |end| (kind, end))
}

fn is_word_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}

/// Returns the length of the longest prefix whose characters satisfy a condition, in bytes.
fn prefix_length(text: &str, condition: impl Fn(char) -> bool) -> usize {
    text.find(|character| !condition(character))
        .unwrap_or(text.len())
}

/// Returns the end of a quoted token, in which the quote is escaped by doubling.
fn quoted_end(text: &str, quote: char, has_escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((index, character)) = characters.next() {
        if has_escapes && character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(index + 1);
        }
    }
    None
}

/// Returns the end of a `/* comment */`, which may contain others.
fn block_comment_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut position = 0;
    loop {
        let rest = text.get(position..)?;
        if rest.starts_with("/*") {
            depth += 1;
            position += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return Some(position);
            }
        } else {
            position += rest.chars().next()?.len_utf8();
        }
    }
}

/// Returns the `$tag$` at the beginning of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let tag = &text[1..end];
    let is_tag =
        tag.chars().all(is_word_char) && !tag.starts_with(|first: char| first.is_ascii_digit());
    is_tag.then(|| &text[..=end])
}

/// Splits a text into statements, each with its `;`.
pub(super) fn split_statements(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut start = 0;
    for token in tokenize(text) {
        if token.is_punctuation(';') {
            let end = token.start + 1;
            statements.push(text[start..end].trim());
            start = end;
        }
    }
    let rest = text[start..].trim();
    if !rest.is_empty() {
        statements.push(rest);
    }
    statements
}

/// Words that must be quoted as names.
const RESERVED_WORDS: &str = "all analyse analyze and any array as asc asymmetric authorization \
    binary both case cast check collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user default deferrable desc distinct do else end except false fetch for foreign \
    freeze from full grant group having ilike in initially inner intersect into is isnull join \
    lateral leading left like limit localtime localtimestamp natural not notnull null offset on \
    only or order outer overlaps placing primary public references returning right select \
    session_user similar some symmetric system_user table tablesample then to trailing true \
    union unique user using variadic verbose when where window with none";

/// Quotes a name only if SQL requires quotes.
pub(super) fn quote_if_needed(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|character| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
        })
        && !RESERVED_WORDS.split_whitespace().any(|word| word == name);
    if is_plain {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

/// Quotes a name.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of one or more terminated tokens.
    pub(crate) fn token_texts() -> impl Strategy<Value = String> {
        let inner = "[ -~\\n\\té☕]{0,24}";
        prop_oneof![
            inner.prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
            inner
                .prop_map(|text| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))),
            ("[ -~\\n]{1,12}").prop_map(|name| quote_identifier(&name)),
            inner.prop_map(|text| format!("$_$\n{}\n$_$", text.replace("$_$", ""))),
            inner.prop_map(|text| format!("$$--: TABLE hello\n{}$$", text.replace('$', ""))),
            "[a-z_]{1,8}",
            Just("SET default_tablespace = '';".to_owned()),
            Just("\n".to_owned()),
            Just(" ( ".to_owned()),
            Just(" ) ".to_owned()),
            Just(";\n".to_owned()),
        ]
    }

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        let tokens = tokenize(text).filter(|token| token.kind != TokenKind::Whitespace);
        tokens.map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn tokenize_ends_strings_names_and_comments_like_postgresql() {
        use TokenKind::{
            Comment, Punctuation, QuotedIdentifier, StringLiteral, Unterminated, Word,
        };
        for (text, expected) in [
            ("'a''b' c", vec![(StringLiteral, "'a''b'"), (Word, "c")]),
            (r"'a\' b", vec![(StringLiteral, r"'a\'"), (Word, "b")]),
            (r"E'a\'b' c", vec![(StringLiteral, r"E'a\'b'"), (Word, "c")]),
            (
                r#""a""b" c"#,
                vec![(QuotedIdentifier, r#""a""b""#), (Word, "c")],
            ),
            ("$$a$b$$ c", vec![(StringLiteral, "$$a$b$$"), (Word, "c")]),
            (
                "$f$ $$ $g$ $f$ c",
                vec![(StringLiteral, "$f$ $$ $g$ $f$"), (Word, "c")],
            ),
            ("a$b$c", vec![(Word, "a$b$c")]),
            ("$1", vec![(Punctuation, "$"), (Word, "1")]),
            (
                "a -- b ' c\nd",
                vec![(Word, "a"), (Comment, "-- b ' c"), (Word, "d")],
            ),
            (
                "/* a /* b */ c */ d",
                vec![(Comment, "/* a /* b */ c */"), (Word, "d")],
            ),
            ("x 'open", vec![(Word, "x"), (Unterminated, "'open")]),
            ("$a$ open $b$", vec![(Unterminated, "$a$ open $b$")]),
            ("/* open", vec![(Unterminated, "/* open")]),
        ] {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn split_statements_ignores_semicolons_in_strings_and_names() {
        let text = "GRANT a TO \"x;y\"; COMMENT ON TABLE t IS ';';\n SELECT $$;$$";
        assert_eq!(
            split_statements(text),
            [
                "GRANT a TO \"x;y\";",
                "COMMENT ON TABLE t IS ';';",
                "SELECT $$;$$"
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// For any text.
        #[test]
        fn tokens_together_equal_the_text(text in r#"([$'"eE/*\-\\a ☕\n;]|\$a\$){0,40}"#) {
            let joined: String = tokenize(&text).map(|token| token.text).collect();
            prop_assert_eq!(joined, text);
        }

        /// For texts of terminated tokens.
        #[test]
        fn terminated_tokens_are_not_unterminated(texts in proptest::collection::vec(token_texts(), 0..8)) {
            let text = texts.join(" ");
            prop_assert!(tokenize(&text).all(|token| token.kind != TokenKind::Unterminated), "{}", text);
        }
    }
}
