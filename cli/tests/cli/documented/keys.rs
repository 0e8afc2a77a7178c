//! Keys of the configuration in a text.

use serde_json::Value;

use super::{Kind, Text};

/// Endings of files: `backup.json` is no key.
const FILES: [&str; 10] = [
    "tar", "conf", "zst", "json", "toml", "rs", "md", "sql", "log", "snap",
];

/// What the configuration knows.
pub(super) struct Known(Value);

impl Known {
    pub(super) fn new() -> Self {
        Self(dm_config::schema())
    }

    /// True for a key, a section, and an entry of a free table.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut schema = &self.0;
        for part in key.split('.') {
            // One of seven, in documents.
            let part = if part == "NAME" { "order" } else { part };
            match schema["properties"].get(part) {
                Some(below) => schema = below,
                None => return schema["additionalProperties"].is_object(),
            }
        }
        true
    }

    fn sections() -> Vec<String> {
        let schema = dm_config::schema();
        let sections = schema["properties"].as_object().unwrap();
        sections.keys().cloned().collect()
    }
}

/// The keys that a text names: `postgres.port`, and `DM_POSTGRES__PORT`.
pub(super) fn named(text: &Text) -> Vec<String> {
    let sections = Known::sections();
    let separates = |it: char| !(it.is_ascii_alphanumeric() || "_./-:*".contains(it));
    let mut found = Vec::new();
    for word in text.text.split(separates) {
        let word = word.trim_end_matches(['.', ':']);
        if let Some(variable) = word.strip_prefix("DM_")
            && variable.contains("__")
        {
            found.push(variable.to_lowercase().replace("__", "."));
            continue;
        }
        let Some((section, rest)) = word.split_once('.') else {
            continue;
        };
        let is_key = rest.split('.').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || it == '_')
        });
        let is_file = rest
            .rsplit('.')
            .next()
            .is_some_and(|it| FILES.contains(&it));
        // A sentence may end with a section's name, and the next one begin behind it.
        let is_section = sections.iter().any(|it| it == section);
        if is_section && is_key && !is_file && text.kind != Kind::Prose {
            found.push(word.to_owned());
        }
    }
    found
}
