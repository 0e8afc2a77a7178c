//! Secrets, which are never shown by accident.

use std::borrow::Cow;
use std::fmt;

use data_encoding::HEXLOWER;
use dm_core::mask::MASK;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::InvalidValue;

/// A password or the like. Debug, Display and Serialize give [`MASK`]; only
/// [`reveal`](Secret::reveal) gives the text.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

impl Secret {
    /// The secret itself: for whoever needs it to log in, never for a person.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The secret as the password of a role of PostgreSQL: itself, unless it has characters
    /// that SASLprep refuses, such as an emoji. Some clients then send it as it is and others
    /// send nothing, so that it stands for a password that all of them send alike.
    #[must_use]
    pub fn to_postgres_password(&self) -> Cow<'_, str> {
        match stringprep::saslprep(&self.0) {
            Ok(prepared) if !prepared.is_empty() => Cow::Borrowed(&self.0),
            _ => Cow::Owned(HEXLOWER.encode(&Sha256::digest(&self.0))),
        }
    }
}

impl TryFrom<String> for Secret {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if text.is_empty() {
            return Err(InvalidValue::new("a password cannot be empty")
                .with_help("remove the key to use the default"));
        }
        // It stands on one line of a file.
        if text.contains(char::is_control) {
            return Err(InvalidValue::new(
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
            assert_eq!(
                secret.to_postgres_password() == password,
                same,
                "{password}"
            );
            assert!(stringprep::saslprep(&secret.to_postgres_password()).is_ok());
        }
    }
}
