//! Headers as JSON, with their types.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use serde::{Deserialize, Serialize};

/// The value of a header. Strings and booleans are written directly. Other values contain their
/// type, because AMQP has seven integer types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "the value of a header")]
pub enum JsonHeaderValue {
    /// A boolean.
    Bool(bool),
    /// A string.
    Text(String),
    /// A value of another type.
    Typed(TypedHeaderValue),
}

/// A value with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypedHeaderValue {
    /// A signed integer of 8 bits.
    Int8(i8),
    /// An unsigned integer of 8 bits.
    Uint8(u8),
    /// A signed integer of 16 bits.
    Int16(i16),
    /// An unsigned integer of 16 bits.
    Uint16(u16),
    /// A signed integer of 32 bits.
    Int32(i32),
    /// An unsigned integer of 32 bits.
    Uint32(u32),
    /// A signed integer of 64 bits.
    Int64(i64),
    /// A 32-bit float in round-trip digits; NaN and infinity as hexadecimal bits.
    Float(String),
    /// A 64-bit float, in the same format.
    Double(String),
    /// A decimal number.
    Decimal {
        /// The number of decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// Seconds since 1970.
    Timestamp(u64),
    /// A string that is not UTF-8, in base64.
    Text(String),
    /// Bytes, in base64.
    Bytes(String),
    /// A list of values.
    List(Vec<JsonHeaderValue>),
    /// A table of named values.
    Table(BTreeMap<String, JsonHeaderValue>),
    /// No value.
    Void(()),
}

/// Converts the headers of a message.
pub(super) fn from_field_table(table: &FieldTable) -> BTreeMap<String, JsonHeaderValue> {
    let entries = table.inner().iter();
    entries
        .map(|(name, value)| (name.to_string(), JsonHeaderValue::from_amqp(value)))
        .collect()
}

/// Converts headers to a field table.
pub(super) fn to_field_table(
    headers: &BTreeMap<String, JsonHeaderValue>,
) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (name, header) in headers {
        let value = header
            .to_amqp()
            .map_err(|reason| format!("header {name}: {reason}"))?;
        table.insert(to_short_string(name)?, value);
    }
    Ok(table)
}

/// Converts a name or property to a short string, which has at most 255 bytes.
pub(super) fn to_short_string(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text)
        .map_err(|_| format!("a text of {} bytes is longer than 255 bytes", text.len()))
}

impl JsonHeaderValue {
    fn from_amqp(value: &AMQPValue) -> Self {
        Self::Typed(match value {
            AMQPValue::Boolean(value) => return Self::Bool(*value),
            AMQPValue::ShortString(text) => return Self::Text(text.to_string()),
            AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => return Self::Text(text.to_owned()),
                Err(_) => TypedHeaderValue::Text(STANDARD.encode(text.as_bytes())),
            },
            AMQPValue::ShortShortInt(number) => TypedHeaderValue::Int8(*number),
            AMQPValue::ShortShortUInt(number) => TypedHeaderValue::Uint8(*number),
            AMQPValue::ShortInt(number) => TypedHeaderValue::Int16(*number),
            AMQPValue::ShortUInt(number) => TypedHeaderValue::Uint16(*number),
            AMQPValue::LongInt(number) => TypedHeaderValue::Int32(*number),
            AMQPValue::LongUInt(number) => TypedHeaderValue::Uint32(*number),
            AMQPValue::LongLongInt(number) => TypedHeaderValue::Int64(*number),
            AMQPValue::Float(number) if number.is_finite() => {
                TypedHeaderValue::Float(number.to_string())
            }
            AMQPValue::Float(number) => {
                TypedHeaderValue::Float(format!("0x{:08x}", number.to_bits()))
            }
            AMQPValue::Double(number) if number.is_finite() => {
                TypedHeaderValue::Double(number.to_string())
            }
            AMQPValue::Double(number) => {
                TypedHeaderValue::Double(format!("0x{:016x}", number.to_bits()))
            }
            AMQPValue::DecimalValue(number) => TypedHeaderValue::Decimal {
                scale: number.scale,
                value: number.value,
            },
            AMQPValue::Timestamp(seconds) => TypedHeaderValue::Timestamp(*seconds),
            AMQPValue::ByteArray(bytes) => {
                TypedHeaderValue::Bytes(STANDARD.encode(bytes.as_slice()))
            }
            AMQPValue::FieldArray(values) => {
                TypedHeaderValue::List(values.as_slice().iter().map(Self::from_amqp).collect())
            }
            AMQPValue::FieldTable(table) => TypedHeaderValue::Table(from_field_table(table)),
            AMQPValue::Void => TypedHeaderValue::Void(()),
        })
    }

    fn to_amqp(&self) -> Result<AMQPValue, String> {
        let bytes = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|error| format!("not base64: {error}"))
        };
        let not_a_number = |text: &str| format!("`{text}` is not a number");
        Ok(match self {
            Self::Bool(value) => AMQPValue::Boolean(*value),
            Self::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Self::Typed(typed) => match typed {
                TypedHeaderValue::Int8(number) => AMQPValue::ShortShortInt(*number),
                TypedHeaderValue::Uint8(number) => AMQPValue::ShortShortUInt(*number),
                TypedHeaderValue::Int16(number) => AMQPValue::ShortInt(*number),
                TypedHeaderValue::Uint16(number) => AMQPValue::ShortUInt(*number),
                TypedHeaderValue::Int32(number) => AMQPValue::LongInt(*number),
                TypedHeaderValue::Uint32(number) => AMQPValue::LongUInt(*number),
                TypedHeaderValue::Int64(number) => AMQPValue::LongLongInt(*number),
                TypedHeaderValue::Float(text) => AMQPValue::Float(match text.strip_prefix("0x") {
                    Some(bits) => f32::from_bits(
                        u32::from_str_radix(bits, 16).map_err(|_| not_a_number(text))?,
                    ),
                    None => text.parse().map_err(|_| not_a_number(text))?,
                }),
                TypedHeaderValue::Double(text) => {
                    AMQPValue::Double(match text.strip_prefix("0x") {
                        Some(bits) => f64::from_bits(
                            u64::from_str_radix(bits, 16).map_err(|_| not_a_number(text))?,
                        ),
                        None => text.parse().map_err(|_| not_a_number(text))?,
                    })
                }
                TypedHeaderValue::Decimal { scale, value } => {
                    AMQPValue::DecimalValue(DecimalValue {
                        scale: *scale,
                        value: *value,
                    })
                }
                TypedHeaderValue::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
                TypedHeaderValue::Text(text) => AMQPValue::LongString(bytes(text)?.into()),
                TypedHeaderValue::Bytes(text) => AMQPValue::ByteArray(bytes(text)?.into()),
                TypedHeaderValue::List(values) => {
                    let values: Result<Vec<_>, _> = values.iter().map(Self::to_amqp).collect();
                    AMQPValue::FieldArray(values?.into())
                }
                TypedHeaderValue::Table(headers) => AMQPValue::FieldTable(to_field_table(headers)?),
                TypedHeaderValue::Void(()) => AMQPValue::Void,
            },
        })
    }
}

/// Returns the value of a header for display.
pub(super) fn display_value(value: &AMQPValue) -> String {
    match JsonHeaderValue::from_amqp(value) {
        JsonHeaderValue::Text(text) => text,
        JsonHeaderValue::Bool(value) => value.to_string(),
        JsonHeaderValue::Typed(
            TypedHeaderValue::Float(number) | TypedHeaderValue::Double(number),
        ) => number,
        JsonHeaderValue::Typed(typed) => match value {
            AMQPValue::ShortShortInt(number) => number.to_string(),
            AMQPValue::ShortShortUInt(number) => number.to_string(),
            AMQPValue::ShortInt(number) => number.to_string(),
            AMQPValue::ShortUInt(number) => number.to_string(),
            AMQPValue::LongInt(number) => number.to_string(),
            AMQPValue::LongUInt(number) => number.to_string(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            _ => serde_json::to_string(&typed).unwrap_or_default(),
        },
    }
}
