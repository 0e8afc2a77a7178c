//! The texts of a source file, those of its tests left out.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{Kind, Text, markdown};

/// The texts: literals as they are, and the code in comments for the documentation.
pub(super) fn texts(place: &str, source: &str) -> Vec<Text> {
    let tokens: TokenStream = source.parse().unwrap_or_default();
    let mut found = Vec::new();
    walk(place, tokens, &mut found);
    found
}

fn walk(place: &str, tokens: TokenStream, found: &mut Vec<Text>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                let Some(TokenTree::Group(attribute)) = tokens.next() else {
                    continue;
                };
                let text = attribute.stream().to_string();
                if text.starts_with("cfg") && text.contains("test") {
                    // Up to the end of what the attribute belongs to.
                    for token in tokens.by_ref() {
                        match token {
                            TokenTree::Punct(sign) if sign.as_char() == ';' => break,
                            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => break,
                            _ => {}
                        }
                    }
                } else if text.starts_with("doc") {
                    for literal in literals(attribute.stream()) {
                        found.extend(markdown::spans(place, &literal));
                    }
                } else {
                    walk(place, attribute.stream(), found);
                }
            }
            // What a lock is taken for is a name, not a call.
            TokenTree::Ident(name) if name == "lock" => {
                let _ = tokens.next_if(|it| matches!(it, TokenTree::Group(_)));
            }
            TokenTree::Group(group) => walk(place, group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Some(text) = unquoted(&literal.to_string()) {
                    found.extend(of_literal(place, &text));
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

/// The parts of a literal: its spans of code; a command at its beginning or behind a
/// colon, which is all of the rest; any other in a sentence.
fn of_literal(place: &str, text: &str) -> Vec<Text> {
    let mut found = markdown::spans(place, text);
    let outside: Vec<&str> = text.split('`').step_by(2).collect();
    for (number, part) in outside.iter().enumerate() {
        for line in part.lines() {
            let typed = |text: &str, kind| Text {
                place: place.to_owned(),
                kind,
                text: text.trim().to_owned(),
            };
            let is_start = |text: &str| {
                ["dm ", "./dm ", "sudo dm ", "cd "]
                    .iter()
                    .any(|it| text.starts_with(it))
            };
            if number == 0 && outside.len() == 1 && is_start(line) {
                found.push(typed(line, Kind::Whole));
            } else if let Some((_, rest)) = line.rsplit_once(": ")
                && is_start(rest)
            {
                found.push(typed(rest, Kind::Whole));
            } else {
                let starts = line.match_indices("dm ").map(|(at, _)| at);
                let own = starts.filter(|at| line[..*at].ends_with([' ', '(', '\n']) || *at == 0);
                found.extend(own.map(|at| typed(&line[at..], Kind::Prose)));
            }
        }
    }
    found
}
