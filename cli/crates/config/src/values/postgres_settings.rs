//! Settings of the PostgreSQL server.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::InvalidValue;

/// The settings that `dm` sets itself. Another value would break the stack.
const RESERVED_SETTINGS: [&str; 7] = [
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
];

/// Settings of a PostgreSQL server by name, as for `postgres -c NAME=VALUE`. The name of an
/// extension's setting contains a dot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PostgresSettings(BTreeMap<String, String>);

impl PostgresSettings {
    /// Returns the names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A setting or the settings of an extension: in TOML, `auto_explain.log_analyze = true` is a
/// nested table.
enum SettingEntry {
    Setting(String),
    Extension(PostgresSettings),
}

impl<'de> Deserialize<'de> for SettingEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SettingEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<SettingEntry, E> {
                Ok(SettingEntry::Setting(
                    if value { "on" } else { "off" }.to_owned(),
                ))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<SettingEntry, E> {
                Ok(SettingEntry::Setting(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<SettingEntry, E> {
                Ok(SettingEntry::Setting(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<SettingEntry, E> {
                if value.contains(char::is_control) {
                    return Err(E::custom(InvalidValue::new(
                        "a setting is a single line without control characters",
                    )));
                }
                Ok(SettingEntry::Setting(value.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<SettingEntry, A::Error> {
                PostgresSettings::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(SettingEntry::Extension)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The name of a setting, or of an extension with settings.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct SettingName(String);

impl TryFrom<String> for SettingName {
    type Error = InvalidValue;

    fn try_from(name: String) -> Result<Self, InvalidValue> {
        if RESERVED_SETTINGS.contains(&name.as_str()) {
            let error = InvalidValue::new(format!("`{name}` is set by dm"));
            return Err(match name.as_str() {
                "port" => error.with_help("the port on this host is `postgres.port`"),
                _ => error.with_help("remove it"),
            });
        }
        let is_identifier = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if name.split('.').all(is_identifier) {
            return Ok(Self(name));
        }
        Err(InvalidValue::new(
            "the name of a setting consists of letters, digits and underscores",
        ))
    }
}

impl<'de> Deserialize<'de> for PostgresSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = BTreeMap::new();
        for (SettingName(name), entry) in
            BTreeMap::<SettingName, SettingEntry>::deserialize(deserializer)?
        {
            match entry {
                SettingEntry::Setting(setting) => {
                    settings.insert(name, setting);
                }
                SettingEntry::Extension(extension) => settings.extend(
                    extension
                        .0
                        .into_iter()
                        .map(|(suffix, setting)| (format!("{name}.{suffix}"), setting)),
                ),
            }
        }
        Ok(Self(settings))
    }
}

impl JsonSchema for PostgresSettings {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "Table of settings",
            "type": "object",
            "propertyNames": {
                "pattern": "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$",
                "not": { "enum": RESERVED_SETTINGS },
            },
            "additionalProperties": { "type": ["string", "number", "boolean", "object"] },
        })
    }

    fn inline_schema() -> bool {
        true
    }
}
