//! Settings of PostgreSQL.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::Refusal;

/// Settings that `dm` gives the server itself; another value would only break
/// the stack.
const RESERVED: [&str; 7] = [
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
];

/// Settings of a PostgreSQL server by name, as `postgres -c NAME=VALUE` takes
/// them; the name of an extension's setting has a dot in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A setting, or the settings of an extension: `auto_explain.log_analyze = true`
/// is a table within a table in TOML.
enum Entry {
    Setting(String),
    Extension(Settings),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Entry, E> {
                Ok(Entry::Setting(if value { "on" } else { "off" }.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Entry, E> {
                Ok(Entry::Setting(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Entry, E> {
                Ok(Entry::Setting(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Entry, E> {
                if value.contains(char::is_control) {
                    return Err(E::custom(Refusal::new(
                        "a setting is a single line without control characters",
                    )));
                }
                Ok(Entry::Setting(value.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Settings::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(Entry::Extension)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The name of a setting, or of an extension that has some.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = Refusal;

    fn try_from(name: String) -> Result<Self, Refusal> {
        if RESERVED.contains(&name.as_str()) {
            let refusal = Refusal::new(format!("`{name}` is set by dm"));
            return Err(match name.as_str() {
                "port" => refusal.help("the port on this host is `postgres.port`"),
                _ => refusal.help("remove it"),
            });
        }
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if name.split('.').all(word) {
            return Ok(Self(name));
        }
        Err(Refusal::new(
            "the name of a setting consists of letters, digits and underscores",
        ))
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = BTreeMap::new();
        for (Name(name), entry) in BTreeMap::<Name, Entry>::deserialize(deserializer)? {
            match entry {
                Entry::Setting(setting) => {
                    settings.insert(name, setting);
                }
                Entry::Extension(inner) => settings.extend(
                    inner
                        .0
                        .into_iter()
                        .map(|(inner, setting)| (format!("{name}.{inner}"), setting)),
                ),
            }
        }
        Ok(Self(settings))
    }
}

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "Table of settings",
            "type": "object",
            "propertyNames": {
                "pattern": "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$",
                "not": { "enum": RESERVED },
            },
            "additionalProperties": { "type": ["string", "number", "boolean", "object"] },
        })
    }

    fn inline_schema() -> bool {
        true
    }
}
