//! Additional certificate authorities for builds.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ProjectPath;

/// The value for the authorities in the host's trust store.
const HOST_TRUST_STORE: &str = "host";

/// Certificate authorities that image builds trust in addition to those of the distribution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CaCertificates {
    /// The authorities that were added to this host's trust store.
    Host,
    /// These PEM files.
    Files(Vec<ProjectPath>),
}

impl Serialize for CaCertificates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Host => serializer.serialize_str(HOST_TRUST_STORE),
            Self::Files(files) => files.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CaCertificates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CaCertificates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{HOST_TRUST_STORE}\" or an array of paths")
            }

            // In a variable or a flag, which cannot contain an array, commas separate the items.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<CaCertificates, E> {
                match text {
                    HOST_TRUST_STORE => Ok(CaCertificates::Host),
                    "" => Ok(CaCertificates::Files(Vec::new())),
                    _ => text
                        .split(',')
                        .map(|path| ProjectPath::try_from(path.trim().to_owned()))
                        .collect::<Result<_, _>>()
                        .map(CaCertificates::Files)
                        .map_err(E::custom),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut array: A,
            ) -> Result<CaCertificates, A::Error> {
                let mut files = Vec::new();
                while let Some(file) = array.next_element()? {
                    files.push(file);
                }
                Ok(CaCertificates::Files(files))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for CaCertificates {
    fn schema_name() -> Cow<'static, str> {
        "CaCertificates".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "`\"host\"` or paths",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string", "minLength": 1 } },
            ],
        })
    }

    fn inline_schema() -> bool {
        true
    }
}
