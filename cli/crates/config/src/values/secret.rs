//! Secrets, which are never shown by accident.

use std::borrow::Cow;
use std::fmt;

use data_encoding::HEXLOWER;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

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
    pub(crate) const NEWTYPE: &str = "dm::Secret";

    /// The secret itself: for whoever needs it to log in, never for a person.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The secret as the password of a role of PostgreSQL: itself, unless it has characters
    /// that SASLprep refuses, such as an emoji. Some clients then send it as it is and others
    /// send nothing, so that it stands for a password that all of them send alike.
    #[must_use]
    pub fn for_postgres(&self) -> Cow<'_, str> {
        match stringprep::saslprep(&self.0) {
            Ok(prepared) if !prepared.is_empty() => Cow::Borrowed(&self.0),
            _ => Cow::Owned(HEXLOWER.encode(&Sha256::digest(&self.0))),
        }
    }
}

impl TryFrom<String> for Secret {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new("a password can't be empty")
                .help("leave the key out to get the default"));
        }
        // It stands on one line of a file.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_clients_disagree_on_becomes_one_that_they_agree_on() {
        for (password, same) in [
            (" p$$\"\\ ", true),
            ("äß€漢", true),
            ("key🔑", false),
            ("\u{ad}", false),
            // From right to left and from left to right at once.
            ("אa", false),
        ] {
            let secret = Secret::try_from(password.to_owned()).unwrap();
            assert_eq!(secret.for_postgres() == password, same, "{password}");
            assert!(stringprep::saslprep(&secret.for_postgres()).is_ok());
        }
    }
}
