//! Masking of source texts: secrets are replaced by asterisks, and all offsets stay the same, so
//! that the carets of a diagnostic stay correct.

use std::ops::Range;

use dm_core::mask::{find_url_passwords, is_secret_name};
use dm_core::suggest::closest_match;

use super::config_tree::{ConfigNode, KeyPath};
use super::source::{ConfigSource, SourceKind};

/// Returns whether a key or a variable with this name likely has a secret value. For unknown
/// keys, and in files that cannot be parsed, the types do not determine this.
fn resembles_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let last_word = name.rsplit(['_', '.']).next().unwrap_or(&name);
    is_secret_name(&name) || closest_match(last_word, &["password", "secret"]).is_some()
}

/// Returns the text of `source` with its secrets masked. `tree` is the parsed source, if it is
/// valid, and `secrets` are the paths of the keys with secret values.
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
            let has_secret_name = path.last().is_some_and(|key| resembles_secret_name(key));
            if has_secret_name || secrets.iter().any(|secret| path.starts_with(secret)) {
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

/// Returns the spans of the values in the lines whose key resembles the name of a secret.
fn secret_line_spans(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut spans = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && resembles_secret_name(key.trim())
        {
            let value_start = start + key.len() + 1;
            spans.push(value_start..value_start + value.len());
        }
        start += line.len();
    }
    spans
}

/// Returns the text with the bytes of `span` masked, except quotes and whitespace.
fn mask_span(text: String, span: &Range<usize>) -> String {
    let mut masked = String::with_capacity(text.len());
    for (offset, c) in text.char_indices() {
        if span.contains(&offset) && !c.is_whitespace() && !matches!(c, '"' | '\'') {
            // The number of bytes stays the same, because offsets must stay valid.
            masked.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            masked.push(c);
        }
    }
    masked
}
