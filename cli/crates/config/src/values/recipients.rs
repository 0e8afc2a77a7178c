//! Whom backups are encrypted for.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Refusal, text_value};

/// A recipient of age: `age1…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Recipient(String);

text_value!(Recipient, recipient, title: "Recipient of age", pattern: "^age1[a-z0-9]+$");

fn recipient(text: &str) -> Result<(), Refusal> {
    match text.parse::<age::x25519::Recipient>() {
        Ok(_) => Ok(()),
        Err(reason) => {
            let refusal = Refusal::new(format!("not an age recipient: {reason}"));
            Err(refusal.help("write the public key that `age-keygen` prints: `age1…`"))
        }
    }
}

/// Recipients, none among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// Each as it was written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Recipient::as_str)
    }
}

impl<'de> Deserialize<'de> for Recipients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Recipients;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of recipients")
            }

            // A variable or a flag holds no array: there, commas separate.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Recipients, E> {
                let each = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                let each = each.map(|it| Recipient::try_from(it.to_owned()));
                each.collect::<Result<_, _>>()
                    .map(Recipients)
                    .map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut array: A,
            ) -> Result<Recipients, A::Error> {
                let mut recipients = Vec::new();
                while let Some(recipient) = array.next_element()? {
                    recipients.push(recipient);
                }
                Ok(Recipients(recipients))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
