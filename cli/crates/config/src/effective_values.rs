//! Every effective value and where it comes from.

use dm_core::mask::{self, MASK};
use dm_core::suggest::closest_match;
use serde::Serialize;
use serde_json::Value;

use super::config_tree::{self, ConfigNode, KeyPath, format_key_path};
use super::diagnostic::ConfigError;
use super::json_schema;
use super::load::LoadedConfig;
use super::source::ValueOrigin;

/// One key with its effective value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveValue {
    /// The dotted key.
    pub key: String,
    /// Its value; null where it has none. A secret is masked unless it was to be
    /// revealed.
    pub value: Value,
    /// Where the value comes from; null where there is none.
    pub origin: Option<ValueOrigin>,
    /// True for a secret.
    pub secret: bool,
}

impl LoadedConfig {
    /// All effective values in the order of the reference, or those of one key
    /// or section. Secrets are masked unless `reveal` is set.
    ///
    /// # Errors
    ///
    /// Where there is no such key or section.
    pub fn effective_values(
        &self,
        key: Option<&str>,
        reveal: bool,
    ) -> Result<Vec<EffectiveValue>, ConfigError> {
        let mut entries = Vec::new();
        for known in json_schema::config_keys() {
            self.push_effective_values(&known, reveal, &mut entries);
        }
        let Some(wanted) = key else {
            return Ok(entries);
        };
        let below = format!("{wanted}.");
        let (found, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.key == wanted || entry.key.starts_with(&below));
        if found.is_empty() {
            return Err(ConfigError::UnknownKey {
                suggestion: suggest_key(wanted, &others),
                key: wanted.to_owned(),
            });
        }
        Ok(found)
    }

    /// Adds the value of `key`, or the values in the table that it is.
    fn push_effective_values(
        &self,
        key: &json_schema::ConfigKey,
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
                node.for_each_leaf(&mut |below, leaf| {
                    let full: KeyPath = path.iter().chain(below).cloned().collect();
                    entries.push(self.effective_value(&full, leaf, key.is_secret(), reveal));
                });
            }
            _ => entries.push(self.effective_value(path, node, key.is_secret(), reveal)),
        }
    }

    fn effective_value(
        &self,
        path: &KeyPath,
        node: &ConfigNode,
        secret: bool,
        reveal: bool,
    ) -> EffectiveValue {
        let value = match node.value.to_json() {
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

/// The key or section that was most likely meant by `wanted`.
fn suggest_key(wanted: &str, entries: &[EffectiveValue]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for entry in entries {
        // A section is as good a name as a key.
        names.extend(entry.key.match_indices('.').map(|(at, _)| &entry.key[..at]));
        names.push(&entry.key);
    }
    let last_of_only = || {
        let tail = format!(".{wanted}");
        let mut same = names.iter().filter(|name| name.ends_with(&tail));
        match (same.next(), same.next()) {
            (Some(only), None) => Some(*only),
            _ => None,
        }
    };
    closest_match(wanted, names.iter().copied())
        .or_else(last_of_only)
        .map(str::to_owned)
}
