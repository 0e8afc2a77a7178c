//! Finds code in a Markdown document: blocks and spans.

use super::{Kind, Text};

/// Returns all code of a document.
pub(super) fn code(location: &str, document: &str) -> Vec<Text> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    let mut prose = String::new();
    let mut continued = String::new();
    let mut table = String::new();
    for (number, line) in document.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            table.clear();
            block = match block {
                None => Some(language.trim().to_owned()),
                Some(_) => None,
            };
            continue;
        }
        // A block may be indented instead of fenced.
        let language = match &block {
            None if line.starts_with("    dm ") => Some("indented"),
            None => None,
            Some(language) => Some(language.as_str()),
        };
        let location = format!("{location}:{}", number + 1);
        match language {
            None => {
                prose.push_str(line);
                prose.push('\n');
            }
            Some("toml") => {
                if let Some(header) = line.strip_prefix('[') {
                    table = header.trim_end_matches(']').to_owned();
                } else if !table.starts_with('[') {
                    let key = format!("{table}.{line}");
                    found.push(Text {
                        location,
                        kind: Kind::Mention,
                        text: key.trim_start_matches('.').replace("#", ""),
                    });
                }
            }
            Some(language) => {
                let typed = match language {
                    "console" if continued.is_empty() => line.strip_prefix("$ "),
                    _ => Some(line.trim_start().trim_start_matches("run: ")),
                };
                let Some(typed) = typed else { continue };
                continued.push_str(typed);
                if let Some(begun) = continued.strip_suffix('\\') {
                    continued = begun.to_owned();
                    continue;
                }
                found.push(Text {
                    location,
                    kind: Kind::Whole,
                    text: std::mem::take(&mut continued),
                });
            }
        }
    }
    found.extend(spans(location, &prose));
    found
}

/// Returns the code spans of a text.
pub(super) fn spans(location: &str, text: &str) -> Vec<Text> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(|span| Text {
            location: location.to_owned(),
            kind: Kind::Mention,
            text: span.split_whitespace().collect::<Vec<_>>().join(" "),
        })
        .collect()
}
