//! The effective values and their origins.

use dm_core::mask::{self, MASK};
use dm_core::suggest::closest_match;
use serde::Serialize;
use serde_json::Value;

use super::config_tree::{self, ConfigNode, KeyPath, format_key_path};
use super::diagnostic::ConfigError;
use super::json_schema;
use super::load::LoadedConfig;
use super::source::ValueOrigin;

/// A key with its effective value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveValue {
    /// The dotted key.
    pub key: String,
    /// The value, or null if the key has none. A secret is masked unless it is revealed.
    pub value: Value,
    /// The origin of the value, or null if there is none.
    pub origin: Option<ValueOrigin>,
    /// Whether the value is a secret.
    pub secret: bool,
}

impl LoadedConfig {
    /// Returns the effective values of all keys in the order of the reference, or of one key or
    /// section. Secrets are masked unless `reveal` is set.
    ///
    /// # Errors
    /// Returns [`ConfigError::UnknownKey`] if there is no such key or section.
    pub fn effective_values(
        &self,
        key: Option<&str>,
        reveal: bool,
    ) -> Result<Vec<EffectiveValue>, ConfigError> {
        // Contains no secrets, whose JSON is the mask.
        let typed = serde_json::to_value(&self.config).unwrap_or_default();
        let mut entries = Vec::new();
        for key in json_schema::config_keys() {
            self.push_effective_values(&key, &typed, reveal, &mut entries);
        }
        let Some(requested) = key else {
            return Ok(entries);
        };
        let prefix = format!("{requested}.");
        let (matching, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.key == requested || entry.key.starts_with(&prefix));
        if matching.is_empty() {
            return Err(ConfigError::UnknownKey {
                suggestion: suggest_key(requested, &others),
                key: requested.to_owned(),
            });
        }
        Ok(matching)
    }

    /// Adds the value of `key`, or its values if it is a table. `typed` is the configuration as
    /// JSON.
    fn push_effective_values(
        &self,
        key: &json_schema::ConfigKey,
        typed: &Value,
        reveal: bool,
        entries: &mut Vec<EffectiveValue>,
    ) {
        let path = &key.path;
        let Some(node) = self.tree.get(path) else {
            entries.push(EffectiveValue {
                key: format_key_path(path),
                value: Value::Null,
                origin: None,
                secret: key.is_secret(),
            });
            return;
        };
        match &node.value {
            config_tree::ConfigValue::Table(inner) if !inner.is_empty() => {
                node.for_each_leaf(&mut |subpath, leaf| {
                    let leaf_path: KeyPath = path.iter().chain(subpath).cloned().collect();
                    let value = leaf_value(&leaf_path, leaf, typed);
                    let secret = key.is_secret();
                    entries.push(self.effective_value(&leaf_path, leaf, value, secret, reveal));
                });
            }
            _ => {
                let value = leaf_value(path, node, typed);
                entries.push(self.effective_value(path, node, value, key.is_secret(), reveal));
            }
        }
    }

    fn effective_value(
        &self,
        path: &KeyPath,
        node: &ConfigNode,
        value: Value,
        secret: bool,
        reveal: bool,
    ) -> EffectiveValue {
        let value = match value {
            value if reveal => value,
            _ if secret => MASK.into(),
            Value::String(text) => mask::mask_url_passwords(&text).into(),
            value => value,
        };
        EffectiveValue {
            key: format_key_path(path),
            value,
            origin: self.node_origin(node),
            secret,
        }
    }
}

/// Returns the value of a node as JSON. The text of a variable or a flag says nothing about its
/// type: if its key has a number, a boolean or a list, the value is that of the configuration.
fn leaf_value(path: &KeyPath, node: &ConfigNode, typed: &Value) -> Value {
    if matches!(node.value, config_tree::ConfigValue::Untyped(_)) {
        let found = path.iter().try_fold(typed, |value, key| value.get(key));
        if let Some(found) = found.filter(|found| !found.is_string() && !found.is_null()) {
            return found.clone();
        }
    }
    node.value.to_json()
}

/// Returns the key or section that is most similar to `requested`.
fn suggest_key(requested: &str, entries: &[EffectiveValue]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for entry in entries {
        // The names of sections are candidates as well.
        names.extend(
            entry
                .key
                .match_indices('.')
                .map(|(dot, _)| &entry.key[..dot]),
        );
        names.push(&entry.key);
    }
    let only_with_suffix = || {
        let suffix = format!(".{requested}");
        let mut matching = names.iter().filter(|name| name.ends_with(&suffix));
        match (matching.next(), matching.next()) {
            (Some(only), None) => Some(*only),
            _ => None,
        }
    };
    closest_match(requested, names.iter().copied())
        .or_else(only_with_suffix)
        .map(str::to_owned)
}
