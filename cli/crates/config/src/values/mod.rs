//! The types of single values. Each type holds only valid values, rejects other values with an
//! [`InvalidValue`], and provides its JSON Schema.

mod age_recipients;
mod bounded_duration;
mod ca_certificates;
mod image_reference;
mod memory_size;
mod names;
mod network;
mod postgres_settings;
mod project_path;
mod repeat_interval;
mod secret;

pub(crate) use age_recipients::AgeRecipients;
pub use bounded_duration::{BoundedDuration, format_exact_duration, format_interval};
pub use ca_certificates::CaCertificates;
pub(crate) use image_reference::{ImageReference, RegistryPrefix};
pub(crate) use memory_size::MemorySize;
pub(crate) use names::{AccountName, DomainName, ProjectName, SingleLine, SqlIdentifier};
pub(crate) use network::{EngineAddress, FrontEndHost, MirrorUrl, PortNumber};
pub(crate) use postgres_settings::PostgresSettings;
pub(crate) use project_path::ProjectPath;
pub use repeat_interval::RepeatInterval;
pub use secret::Secret;

use serde::{Deserializer, de};

/// The longest time limit of a run or a component.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The time limit to become ready.
pub type WaitTimeout = BoundedDuration<1_000, DAY_MS>;

/// The memory limit of a component.
pub type MemoryLimit = MemorySize<64>;

/// The error for an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// The reason, as a lower-case fragment.
    pub reason: String,
    /// The valid alternative.
    pub help: Option<String>,
}

impl InvalidValue {
    /// Creates the error with its reason.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            help: None,
        }
    }

    /// Adds the valid alternative.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Formats the reason and, on a second line, the help: serde passes on only a text. The
/// configuration's own deserializer splits the lines.
impl std::fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)?;
        match &self.help {
            Some(help) => write!(f, "\n{help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for InvalidValue {}

/// Deserializes a quantity from a string. A bare number is converted to a string, so that the type
/// reports the missing unit.
fn deserialize_quantity<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<String, Error = InvalidValue>,
    D: Deserializer<'de>,
{
    struct Visitor<T>(std::marker::PhantomData<T>);

    impl<T: TryFrom<String, Error = InvalidValue>> de::Visitor<'_> for Visitor<T> {
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

/// Implements validated construction, `as_str` and a JSON Schema with a pattern for a newtype
/// around `String`.
macro_rules! string_newtype {
    ($type:ident, $check:path, title: $title:literal, pattern: $pattern:literal) => {
        impl $type {
            /// Returns the text as it was written.
            #[must_use]
            #[allow(unreachable_pub, reason = "some of these types are of this crate alone")]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::values::InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::values::InvalidValue;

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

pub(crate) use string_newtype;
