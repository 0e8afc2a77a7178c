//! Finds the strings and comments of a source file, except those of its tests.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{Kind, Text, markdown};

/// Functions whose argument is a name that is hashed, sent or shown, and not a command:
/// `connect(uri, "dm readiness")`.
const NAME_FUNCTIONS: [&str; 5] = [
    "lock",
    "connect",
    "header",
    "new_with_prefix",
    "write_field",
];

/// Returns the texts: string literals, and the code spans in documentation comments.
pub(super) fn texts(location: &str, source: &str) -> Vec<Text> {
    let tokens: TokenStream = source
        .parse()
        .unwrap_or_else(|error| panic!("{location}: {error}"));
    let mut found = Vec::new();
    walk(location, tokens, &mut found);
    found
}

fn walk(location: &str, tokens: TokenStream, found: &mut Vec<Text>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                let Some(TokenTree::Group(attribute)) = tokens.next() else {
                    continue;
                };
                let text = attribute.stream().to_string();
                if text.starts_with("cfg") && text.contains("test") {
                    // Skips the item that the attribute belongs to.
                    for token in tokens.by_ref() {
                        match token {
                            TokenTree::Punct(sign) if sign.as_char() == ';' => break,
                            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => break,
                            _ => {}
                        }
                    }
                } else if text.starts_with("doc") {
                    for literal in literals(attribute.stream()) {
                        found.extend(markdown::spans(location, &literal));
                    }
                } else {
                    walk(location, attribute.stream(), found);
                }
            }
            TokenTree::Ident(name) if NAME_FUNCTIONS.iter().any(|other| name == other) => {
                let arguments = tokens.next_if(|token| matches!(token, TokenTree::Group(_)));
                if let Some(TokenTree::Group(arguments)) = arguments {
                    let mut others: Vec<TokenTree> = arguments.stream().into_iter().collect();
                    others.retain(|token| !matches!(token, TokenTree::Literal(_)));
                    walk(location, others.into_iter().collect(), found);
                }
            }
            TokenTree::Group(group) => walk(location, group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Some(text) = unquoted(&literal.to_string()) {
                    found.extend(texts_in_literal(location, &text));
                }
            }
            _ => {}
        }
    }
}

fn literals(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Literal(literal) => unquoted(&literal.to_string()),
            _ => None,
        })
        .collect()
}

fn unquoted(literal: &str) -> Option<String> {
    syn::parse_str::<syn::LitStr>(literal)
        .ok()
        .map(|text| text.value())
}

/// Returns the parts of a literal: its code spans, a command at its beginning or behind a colon,
/// which extends to the end, commands in a sentence, and the sentence for its keys.
fn texts_in_literal(location: &str, text: &str) -> Vec<Text> {
    let mut found = markdown::spans(location, text);
    let outside: Vec<&str> = text.split('`').step_by(2).collect();
    // In SQL, `keycloak.client` is a table.
    let is_sql = ["SELECT ", "UPDATE "]
        .iter()
        .any(|statement| text.contains(statement));
    for (number, part) in outside.iter().enumerate() {
        for line in part.lines() {
            let typed = |text: &str, kind| Text {
                location: location.to_owned(),
                kind,
                text: text.trim().to_owned(),
            };
            let is_start = |text: &str| {
                ["dm ", "./dm ", "sudo dm ", "cd "]
                    .iter()
                    .any(|prefix| text.starts_with(prefix))
            };
            let (sentence, command) = match line.rsplit_once(": ") {
                _ if number == 0 && outside.len() == 1 && is_start(line) => ("", line),
                Some((sentence, command)) if is_start(command) => (sentence, command),
                _ => (line, ""),
            };
            if command.is_empty() {
                let starts = line.match_indices("dm ").map(|(at, _)| at);
                let own = starts.filter(|at| line[..*at].ends_with([' ', '(', '\n']) || *at == 0);
                found.extend(own.map(|at| typed(&line[at..], Kind::Prose)));
            } else {
                // The program adds arguments to a text that ends with a space.
                let is_beginning = command.ends_with(' ');
                let kind = if is_beginning {
                    Kind::Mention
                } else {
                    Kind::Whole
                };
                found.push(typed(command, kind));
            }
            if !is_sql {
                found.push(typed(sentence, Kind::Sentence));
            }
        }
    }
    found
}
