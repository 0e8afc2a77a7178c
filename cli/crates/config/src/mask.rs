//! Source texts as they may be shown: secrets replaced by asterisks, everything
//! else in its place, so that the carets of a report still point right.

use std::ops::Range;

use dm_core::mask::{is_telling, url_passwords};
use dm_core::suggest::nearest;

use super::source::{Source, SourceKind};
use super::tree::{Node, Path};

/// True where a key or a variable of this name likely holds a secret. The types can't tell at
/// unknown keys, and in files that can't be parsed.
fn looks_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let last = name.rsplit(['_', '.']).next().unwrap_or(&name);
    is_telling(&name) || nearest(last, &["password", "secret"]).is_some()
}

/// The text of `source` with its secrets masked. `tree` is what was read from
/// it, if it could be; `secrets` are the keys that hold secrets.
pub(super) fn masked(source: &Source, tree: Option<&Node>, secrets: &[&Path]) -> String {
    let mut spans = Vec::new();
    match (source.kind, tree) {
        (SourceKind::Defaults, _) => {}
        (SourceKind::File, None) => spans = telling_lines(&source.text),
        (SourceKind::Variable | SourceKind::Flag, None) => {
            if let Some((name, _)) = source.text.split_once('=')
                && looks_secret(name)
            {
                spans.push(name.len() + 1..source.text.len());
            }
        }
        (_, Some(tree)) => tree.each_leaf(&mut |path, node| {
            let telling = path.last().is_some_and(|key| looks_secret(key));
            if telling || secrets.iter().any(|secret| path.starts_with(secret)) {
                spans.push(node.place.value.clone());
            }
        }),
    }
    if source.kind != SourceKind::Defaults {
        spans.extend(url_passwords(&source.text));
    }
    spans
        .into_iter()
        .fold(source.text.to_string(), |text, span| cover(text, &span))
}

/// The values of the lines whose key looks like one of a secret.
fn telling_lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut spans = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && looks_secret(key.trim())
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
fn cover(text: String, span: &Range<usize>) -> String {
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
