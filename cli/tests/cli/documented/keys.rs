//! Finds keys of the configuration in a text.

use serde_json::Value;

use super::{Kind, Text};

/// File extensions: `backup.json` is not a key.
const FILES: [&str; 10] = [
    "tar", "conf", "zst", "json", "toml", "rs", "md", "sql", "log", "snap",
];

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
            // In documents, `NAME` stands for a service.
            let part = if part == "NAME" { "order" } else { part };
            match schema["properties"].get(part) {
                Some(child) => schema = child,
                None => return schema["additionalProperties"].is_object(),
            }
        }
        true
    }

    fn sections() -> Vec<String> {
        let schema = dm_config::json_schema();
        let sections = schema["properties"].as_object().unwrap();
        sections.keys().cloned().collect()
    }
}

/// Returns the keys in a text, such as `postgres.port` and `DM_POSTGRES__PORT`.
pub(super) fn keys_in(text: &Text) -> Vec<String> {
    let sections = ConfigKeys::sections();
    let is_separator =
        |character: char| !(character.is_ascii_alphanumeric() || "_./-:*".contains(character));
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
        let is_key = rest.split('.').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|character| character.is_ascii_alphanumeric() || character == '_')
        });
        let is_file = rest
            .rsplit('.')
            .next()
            .is_some_and(|extension| FILES.contains(&extension));
        // A sentence may end with the name of a section, directly followed by the next one.
        let is_section = sections.iter().any(|name| name == section);
        if is_section && is_key && !is_file && text.kind != Kind::Prose {
            found.push(word.to_owned());
        }
    }
    found
}
