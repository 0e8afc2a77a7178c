//! Memory sizes.

use std::borrow::Cow;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{InvalidValue, deserialize_quantity};

/// The number of bytes of a mebibyte.
const MIB: u64 = 1024 * 1024;

/// A memory size of at least `MIN_MIB` mebibytes, written with its unit: `512MiB`, `2GiB`,
/// `1.5GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemorySize<const MIN_MIB: u64>(u64);

impl<const MIN_MIB: u64> MemorySize<MIN_MIB> {
    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl<const MIN_MIB: u64> TryFrom<String> for MemorySize<MIN_MIB> {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        let trimmed = text.trim();
        if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
            // Docker reads a bare number as bytes, people as megabytes.
            return Err(InvalidValue::new("the amount of memory has no unit")
                .with_help(format!("add the unit: \"{trimmed}MiB\"")));
        }
        let size: ByteSize = trimmed.parse().map_err(|_| {
            InvalidValue::new("not an amount of memory")
                .with_help("write a number with its unit, for example `512MiB` or `2GiB`")
        })?;
        if size.as_u64() >= MIN_MIB * MIB {
            return Ok(Self(size.as_u64()));
        }
        Err(InvalidValue::new(format!("{size} is too little memory"))
            .with_help(format!("write at least `{MIN_MIB}MiB`")))
    }
}

impl<'de, const MIN_MIB: u64> Deserialize<'de> for MemorySize<MIN_MIB> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_quantity(deserializer)
    }
}

/// Formats the size exactly, as a whole number of the largest possible unit, so that it can be
/// parsed back.
impl<const MIN_MIB: u64> std::fmt::Display for MemorySize<MIN_MIB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, name) = [(MIB * 1024, "GiB"), (MIB, "MiB"), (1024, "KiB")]
            .into_iter()
            .find(|(unit, _)| self.0.is_multiple_of(*unit))
            .unwrap_or((1, "B"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl<const MIN_MIB: u64> Serialize for MemorySize<MIN_MIB> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<const MIN_MIB: u64> JsonSchema for MemorySize<MIN_MIB> {
    fn schema_name() -> Cow<'static, str> {
        format!("Size_{MIN_MIB}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": format!("Size, at least {MIN_MIB}MiB"),
            "type": "string",
            "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKmMgGtT][iI]?)?[bB]?\\s*$",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}
