//! The tokens of SQL, as PostgreSQL's own lexer cuts them: enough to know what stands in a
//! string, a quoted name or a comment, and what does not.

/// What a token is.
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
    /// A string, name or comment without an end: it reaches to the end of the text.
    Unterminated,
}

/// A part of a text of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub(super) kind: TokenKind,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// What it says, quotes included.
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub(super) fn is_keyword(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this sign.
    pub(super) fn is_punctuation(&self, sign: char) -> bool {
        self.kind == TokenKind::Punctuation && self.text.starts_with(sign)
    }

    /// Whether it says nothing.
    pub(super) const fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Whitespace | TokenKind::Comment)
    }

    /// The name that it stands for, without quotes.
    pub(super) fn identifier(&self) -> String {
        match self.kind {
            TokenKind::QuotedIdentifier => self.text[1..self.text.len() - 1].replace("\"\"", "\""),
            _ => self.text.to_owned(),
        }
    }
}

/// The tokens of a text. Together they are the text.
pub(super) fn tokenize(text: &str) -> Tokenizer<'_> {
    Tokenizer { text, position: 0 }
}

/// The tokens of a text, one after the other.
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
                prefix_length(rest, |it| it.is_ascii_whitespace()),
            ),
            '-' if rest.starts_with("--") => {
                (TokenKind::Comment, prefix_length(rest, |it| it != '\n'))
            }
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
                prefix_length(rest, |it| is_word_char(it) || it == '$'),
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

fn is_word_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii()
}

/// How long it goes on so.
fn prefix_length(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !is_part(letter)).unwrap_or(text.len())
}

/// The end of what begins with a quote, which is doubled inside of it.
fn quoted_end(text: &str, quote: char, has_escapes: bool) -> Option<usize> {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if has_escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// The end of a `/* comment */`, which may have others inside of it.
fn block_comment_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

/// The `$tag$` that a text begins with.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = 1 + text[1..].find('$')?;
    let tag = &text[1..end];
    let is_tag = tag.chars().all(is_word_char) && !tag.starts_with(|it: char| it.is_ascii_digit());
    is_tag.then(|| &text[..=end])
}

/// The statements of a text, each with its `;`.
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

/// Words that are no names unless they are quoted.
const RESERVED_WORDS: &str = "all analyse analyze and any array as asc asymmetric authorization \
    binary both case cast check collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user default deferrable desc distinct do else end except false fetch for foreign \
    freeze from full grant group having ilike in initially inner intersect into is isnull join \
    lateral leading left like limit localtime localtimestamp natural not notnull null offset on \
    only or order outer overlaps placing primary public references returning right select \
    session_user similar some symmetric system_user table tablesample then to trailing true \
    union unique user using variadic verbose when where window with none";

/// A name as SQL writes it, in quotes only where it needs them.
pub(super) fn quote_if_needed(name: &str) -> String {
    let is_plain = name.starts_with(|it: char| it.is_ascii_lowercase() || it == '_')
        && name
            .chars()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
        && !RESERVED_WORDS.split_whitespace().any(|word| word == name);
    if is_plain {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

/// A name in quotes.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that PostgreSQL reads as one token, or as several that end.
    pub(crate) fn pieces() -> impl Strategy<Value = String> {
        let inner = "[ -~\\n\\té☕]{0,24}";
        prop_oneof![
            inner.prop_map(|it| format!("'{}'", it.replace('\'', "''"))),
            inner.prop_map(|it| format!("E'{}'", it.replace('\\', "\\\\").replace('\'', "\\'"))),
            ("[ -~\\n]{1,12}").prop_map(|it| quote_identifier(&it)),
            inner.prop_map(|it| format!("$_$\n{}\n$_$", it.replace("$_$", ""))),
            inner.prop_map(|it| format!("$$--: TABLE hello\n{}$$", it.replace('$', ""))),
            "[a-z_]{1,8}",
            Just("SET default_tablespace = '';".to_owned()),
            Just("\n".to_owned()),
            Just(" ( ".to_owned()),
            Just(" ) ".to_owned()),
            Just(";\n".to_owned()),
        ]
    }

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        let tokens = tokenize(text).filter(|it| it.kind != TokenKind::Whitespace);
        tokens.map(|it| (it.kind, it.text)).collect()
    }

    #[test]
    fn strings_names_and_comments_end_where_postgresql_ends_them() {
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
    fn a_semicolon_in_a_string_ends_no_statement() {
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

        /// Tokens are the whole text, whatever it is.
        #[test]
        fn tokens_are_the_text(text in r#"([$'"eE/*\-\\a ☕\n;]|\$a\$){0,40}"#) {
            let whole: String = tokenize(&text).map(|it| it.text).collect();
            prop_assert_eq!(whole, text);
        }

        /// What ends is not open.
        #[test]
        fn whole_pieces_end(pieces in proptest::collection::vec(pieces(), 0..8)) {
            let text = pieces.join(" ");
            prop_assert!(tokenize(&text).all(|it| it.kind != TokenKind::Unterminated), "{}", text);
        }
    }
}
