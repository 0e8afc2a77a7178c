//! Every effective value and where it comes from.

use dm_core::mask::{self, MASK};
use dm_core::suggest::nearest;
use serde::Serialize;
use serde_json::Value;

use super::load::Loaded;
use super::problem::ConfigError;
use super::schema;
use super::source::Origin;
use super::tree::{self, Node, Path, dotted};

/// One key with its effective value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The dotted key.
    pub key: String,
    /// Its value; null where it has none. A secret is masked unless it was to be
    /// revealed.
    pub value: Value,
    /// Where the value comes from; null where there is none.
    pub origin: Option<Origin>,
    /// True for a secret.
    pub secret: bool,
}

impl Loaded {
    /// All effective values in the order of the reference, or those of one key
    /// or section. Secrets are masked unless `reveal` is set.
    ///
    /// # Errors
    ///
    /// Where there is no such key or section.
    pub fn show(&self, key: Option<&str>, reveal: bool) -> Result<Vec<Entry>, ConfigError> {
        let mut entries = Vec::new();
        for known in schema::keys() {
            self.add(&known, reveal, &mut entries);
        }
        let Some(wanted) = key else {
            return Ok(entries);
        };
        let below = format!("{wanted}.");
        let (found, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| entry.key == wanted || entry.key.starts_with(&below));
        if found.is_empty() {
            return Err(ConfigError::NoSuchKey {
                nearest: nearest_key(wanted, &others),
                key: wanted.to_owned(),
            });
        }
        Ok(found)
    }

    /// Adds the value of `key`, or the values in the table that it is.
    fn add(&self, key: &schema::Key, reveal: bool, entries: &mut Vec<Entry>) {
        let path = &key.path;
        let Some(node) = self.tree.get(path) else {
            entries.push(Entry {
                key: dotted(path),
                value: Value::Null,
                origin: None,
                secret: key.is_secret(),
            });
            return;
        };
        match &node.value {
            tree::Value::Table(inner) if !inner.is_empty() => {
                node.each_leaf(&mut |below, leaf| {
                    let full: Path = path.iter().chain(below).cloned().collect();
                    entries.push(self.entry(&full, leaf, key.is_secret(), reveal));
                });
            }
            _ => entries.push(self.entry(path, node, key.is_secret(), reveal)),
        }
    }

    fn entry(&self, path: &Path, node: &Node, secret: bool, reveal: bool) -> Entry {
        let value = match node.value.to_json() {
            value if reveal => value,
            _ if secret => MASK.into(),
            Value::String(text) => mask::urls(&text).into(),
            value => value,
        };
        Entry {
            key: dotted(path),
            value,
            origin: self.origin_of(node),
            secret,
        }
    }
}

/// The key or section that was most likely meant by `wanted`.
fn nearest_key(wanted: &str, entries: &[Entry]) -> Option<String> {
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
    nearest(wanted, names.iter().copied())
        .or_else(last_of_only)
        .map(str::to_owned)
}
