//! The types of single values: each can only hold what is valid, says in a
//! sentence what is wrong with anything else, and describes itself in the JSON
//! Schema.
//!
//! A refusal is a [`Refusal`]: one sentence, and where there is something to
//! say, what to write instead.

mod cadence;
mod certificates;
mod image;
mod location;
mod names;
mod network;
mod period;
mod recipients;
mod secret;
mod setting;
mod size;

pub use cadence::Cadence;
pub use certificates::CaCertificates;
pub(crate) use image::{ImageReference, RegistryPrefix};
pub(crate) use location::ProjectPath;
pub(crate) use names::{AccountName, DomainName, Identifier, Line, ProjectName};
pub(crate) use network::{EngineAddress, MirrorUrl, Port};
pub use period::{Period, every, words};
pub(crate) use recipients::Recipients;
pub use secret::Secret;
pub(crate) use setting::Settings;
pub(crate) use size::Size;

use serde::{Deserializer, de};

/// The longest time that a run or a component may be given.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long something may take to become ready.
pub type Wait = Period<1_000, DAY_MS>;

/// A limit on a component's memory.
pub type Memory = Size<64>;

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, as a lower-case fragment.
    pub reason: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Refusal {
    /// A refusal for `reason`.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            help: None,
        }
    }

    /// The same, with what to write instead.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// One line for the reason and, as serde passes on nothing but a text, a second
/// one for the help; the configuration's own deserializer takes them apart.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        match &self.help {
            Some(help) => write!(f, "\n{help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads a quantity from a string. A bare number is taken for one without its
/// unit, as the type itself then says best.
fn deserialize_with_unit<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<String, Error = Refusal>,
    D: Deserializer<'de>,
{
    struct Visitor<T>(std::marker::PhantomData<T>);

    impl<T: TryFrom<String, Error = Refusal>> de::Visitor<'_> for Visitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::try_from(text.to_owned()).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }

    deserializer.deserialize_any(Visitor(std::marker::PhantomData))
}

/// Gives a newtype around `String` what all of them have: checked
/// construction, reading, writing and a JSON Schema of a given pattern.
macro_rules! text_value {
    ($type:ident, $check:path, title: $title:literal, pattern: $pattern:literal) => {
        impl $type {
            /// The text as it was written.
            #[must_use]
            #[allow(unreachable_pub, reason = "some of these types are of this crate alone")]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::values::Refusal;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::values::Refusal;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "title": $title,
                    "type": "string",
                    "pattern": $pattern,
                })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

pub(crate) use text_value;
