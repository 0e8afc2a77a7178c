//! Secrets, which are masked when they are formatted.

use std::borrow::Cow;
use std::fmt;

use data_encoding::HEXLOWER;
use dm_core::mask::MASK;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::InvalidValue;

/// A password or another secret. `Debug`, `Display` and `Serialize` return [`MASK`]; only
/// [`reveal`](Secret::reveal) returns the text.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Secret(String);

impl Secret {
    /// Returns the secret itself, for authentication and never for display.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the password of a PostgreSQL role: the secret itself, or its digest if it contains
    /// characters that SASLprep rejects, e.g. an emoji. Some clients send such a secret unchanged
    /// and others send nothing; all of them send the digest alike.
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
        // The password is written to a single line of a file.
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
    fn postgres_password_is_a_digest_if_saslprep_rejects_the_secret() {
        for (password, is_unchanged) in [
            (" p$$\"\\ ", true),
            ("äß€漢", true),
            ("key🔑", false),
            ("\u{ad}", false),
            // Mixes right-to-left and left-to-right characters.
            ("אa", false),
        ] {
            let secret = Secret::try_from(password.to_owned()).unwrap();
            assert_eq!(
                secret.to_postgres_password() == password,
                is_unchanged,
                "{password}"
            );
            assert!(stringprep::saslprep(&secret.to_postgres_password()).is_ok());
        }
    }
}
