//! Source texts as they may be shown: secrets replaced by asterisks, everything
//! else in its place, so that the carets of a report still point right.

use std::ops::Range;

use dm_core::mask::{find_url_passwords, is_secret_name};
use dm_core::suggest::closest_match;

use super::config_tree::{ConfigNode, KeyPath};
use super::source::{ConfigSource, SourceKind};

/// True where a key or a variable of this name likely holds a secret. The types can't tell at
/// unknown keys, and in files that can't be parsed.
fn resembles_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let last = name.rsplit(['_', '.']).next().unwrap_or(&name);
    is_secret_name(&name) || closest_match(last, &["password", "secret"]).is_some()
}

/// The text of `source` with its secrets masked. `tree` is what was read from
/// it, if it could be; `secrets` are the keys that hold secrets.
pub(super) fn mask_source(
    source: &ConfigSource,
    tree: Option<&ConfigNode>,
    secrets: &[&KeyPath],
) -> String {
    let mut spans = Vec::new();
    match (source.kind, tree) {
        (SourceKind::Defaults, _) => {}
        (SourceKind::File, None) => spans = secret_line_spans(&source.text),
        (SourceKind::Variable | SourceKind::Flag, None) => {
            if let Some((name, _)) = source.text.split_once('=')
                && resembles_secret_name(name)
            {
                spans.push(name.len() + 1..source.text.len());
            }
        }
        (_, Some(tree)) => tree.for_each_leaf(&mut |path, node| {
            let telling = path.last().is_some_and(|key| resembles_secret_name(key));
            if telling || secrets.iter().any(|secret| path.starts_with(secret)) {
                spans.push(node.span.value.clone());
            }
        }),
    }
    if source.kind != SourceKind::Defaults {
        spans.extend(find_url_passwords(&source.text));
    }
    spans
        .into_iter()
        .fold(source.text.to_string(), |text, span| mask_span(text, &span))
}

/// The values of the lines whose key looks like one of a secret.
fn secret_line_spans(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut spans = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && resembles_secret_name(key.trim())
        {
            let from = start + key.len() + 1;
            spans.push(from..from + value.len());
        }
        start += line.len();
    }
    spans
}

/// `text` with the bytes of `span` covered, but for quotes, spaces and ends of
/// lines.
fn mask_span(text: String, span: &Range<usize>) -> String {
    let mut covered = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if span.contains(&at) && !c.is_whitespace() && !matches!(c, '"' | '\'') {
            // As many bytes as before: offsets must hold.
            covered.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            covered.push(c);
        }
    }
    covered
}
