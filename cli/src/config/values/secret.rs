//! Secrets, which are never shown by accident.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Refusal;

/// What is shown in place of a secret, whatever its length.
pub const MASK: &str = "********";

/// A password or the like. Debug, Display and Serialize give [`MASK`]; only
/// [`reveal`](Secret::reveal) gives the text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// The newtype name under which a secret asks to be deserialized: the
    /// configuration's deserializer notes where secrets stand by it.
    pub(in crate::config) const NEWTYPE: &str = "dm::Secret";

    /// The secret itself: for whoever needs it to log in, never for a person.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new("a password can't be empty")
                .help("leave the key out to get the default"));
        }
        // It travels in environment variables and property files.
        if text.contains(char::is_control) {
            return Err(Refusal::new(
                "a password is a single line without control characters",
            ));
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({MASK})")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Secret, D::Error> {
                let text = String::deserialize(deserializer)?;
                Secret::try_from(text).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_newtype_struct(Self::NEWTYPE, Visitor)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "Secret",
            "type": "string",
            "minLength": 1,
            "writeOnly": true,
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// `text` with the password of any URL in it masked.
#[must_use]
pub fn mask_user_info(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find("://").map(|at| at + 3) else {
        return Cow::Borrowed(text);
    };
    let authority = text[start..].split(['/', '?', '#']).next().unwrap_or("");
    match authority.rsplit_once('@') {
        Some((user_info, host)) if user_info.contains(':') => {
            let user = user_info.split(':').next().unwrap_or("");
            let rest = &text[start + authority.len()..];
            Cow::Owned(format!("{}{user}:{MASK}@{host}{rest}", &text[..start]))
        }
        _ => Cow::Borrowed(text),
    }
}
