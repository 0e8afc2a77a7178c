//! Recipients of encrypted backups.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{InvalidValue, string_newtype};

/// An age recipient, `age1…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct AgeRecipient(String);

string_newtype!(AgeRecipient, validate_age_recipient, title: "Recipient of age", pattern: "^age1[a-z0-9]+$");

fn validate_age_recipient(text: &str) -> Result<(), InvalidValue> {
    match text.parse::<age::x25519::Recipient>() {
        Ok(_) => Ok(()),
        Err(reason) => {
            let error = InvalidValue::new(format!("not an age recipient: {reason}"));
            Err(error.with_help("write the public key that `age-keygen` prints: `age1…`"))
        }
    }
}

/// A list of recipients, which may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct AgeRecipients(Vec<AgeRecipient>);

impl AgeRecipients {
    /// Returns the recipients as they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AgeRecipient::as_str)
    }
}

impl<'de> Deserialize<'de> for AgeRecipients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = AgeRecipients;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of recipients")
            }

            // In a variable or a flag, which cannot contain an array, commas separate the items.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AgeRecipients, E> {
                text.split(',')
                    .map(str::trim)
                    .filter(|recipient| !recipient.is_empty())
                    .map(|recipient| AgeRecipient::try_from(recipient.to_owned()))
                    .collect::<Result<_, _>>()
                    .map(AgeRecipients)
                    .map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut array: A,
            ) -> Result<AgeRecipients, A::Error> {
                let mut recipients = Vec::new();
                while let Some(recipient) = array.next_element()? {
                    recipients.push(recipient);
                }
                Ok(AgeRecipients(recipients))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
