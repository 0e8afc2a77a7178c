//! Finds keys of the configuration in a text.

use serde_json::Value;

use super::{Kind, Text};

/// File extensions: `backup.json` is not a key.
const FILES: [&str; 11] = [
    "tar", "gz", "conf", "zst", "json", "toml", "rs", "md", "sql", "log", "snap",
];

/// A table of Keycloak, whose schema has the name of a section.
const TABLE: &str = "keycloak.migration_model";

/// The schema of the configuration.
pub(super) struct ConfigKeys(Value);

impl ConfigKeys {
    pub(super) fn new() -> Self {
        Self(dm_config::json_schema())
    }

    /// Returns whether this is a key, a section, or an entry of a table with free keys.
    pub(super) fn contains(&self, key: &str) -> bool {
        let mut schema = &self.0;
        for part in key.split('.') {
            // `NAME` in documents and a placeholder of a format string stand for a service.
            let is_service = part == "NAME" || is_placeholder(part);
            let part = if is_service { "order" } else { part };
            match schema["properties"].get(part) {
                Some(child) => schema = child,
                None => return schema["additionalProperties"].is_object(),
            }
        }
        true
    }

    /// Returns the keys in a text, such as `postgres.port` and `DM_POSTGRES__PORT`.
    pub(super) fn find_in(&self, text: &Text) -> Vec<String> {
        let is_separator = |character: char| {
            !(character.is_ascii_alphanumeric() || "_./-:*{}".contains(character))
        };
        let mut found = Vec::new();
        for word in text.text.split(is_separator) {
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
            let is_key = rest
                .split('.')
                .all(|part| is_name(part) || is_placeholder(part));
            let last = rest.rsplit('.').next().unwrap_or_default();
            // Nothing is known about the key that replaces a placeholder at the end.
            let is_complete = !is_placeholder(last);
            let is_other = FILES.contains(&last) || word == TABLE;
            // The keys of a command in a sentence are those of the sentence.
            let is_section = self.0["properties"].get(section).is_some();
            if is_section && is_key && is_complete && !is_other && text.kind != Kind::Prose {
                found.push(word.to_owned());
            }
        }
        found
    }
}

/// Returns whether a part of a key is a name.
fn is_name(part: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !part.is_empty() && part.chars().all(is_allowed)
}

/// Returns whether a part of a key is a placeholder of a format string: `{}`, `{name}`.
fn is_placeholder(part: &str) -> bool {
    part.strip_prefix('{')
        .and_then(|part| part.strip_suffix('}'))
        .is_some_and(|name| name.is_empty() || is_name(name))
}
