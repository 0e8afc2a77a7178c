//! Headers as JSON, with their types.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use serde::{Deserialize, Serialize};

/// The value of a header. Texts and truths stand for themselves; everything else names its
/// type, because AMQP has seven kinds of whole numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "the value of a header")]
pub enum Header {
    /// A truth.
    Truth(bool),
    /// A text.
    Text(String),
    /// Anything else.
    Typed(Typed),
}

/// A value with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Typed {
    /// A whole number of 8 bits.
    Int8(i8),
    /// Without a sign.
    Uint8(u8),
    /// Of 16 bits.
    Int16(i16),
    /// Without a sign.
    Uint16(u16),
    /// Of 32 bits.
    Int32(i32),
    /// Without a sign.
    Uint32(u32),
    /// Of 64 bits.
    Int64(i64),
    /// A float, in digits that read as the same one; what is no number by its bits.
    Float(String),
    /// The same of twice the width.
    Double(String),
    /// A decimal number.
    Decimal {
        /// How many of its digits are behind the point.
        scale: u8,
        /// Its digits.
        value: u32,
    },
    /// Seconds since 1970.
    Timestamp(u64),
    /// A text that isn't UTF-8, in base64.
    Text(String),
    /// Bytes, in base64.
    Bytes(String),
    /// Several values.
    List(Vec<Header>),
    /// Values with names.
    Table(BTreeMap<String, Header>),
    /// No value.
    Void(()),
}

/// The headers of a message.
pub(super) fn of_table(table: &FieldTable) -> BTreeMap<String, Header> {
    let entries = table.inner().iter();
    entries
        .map(|(name, value)| (name.to_string(), Header::of(value)))
        .collect()
}

/// The table of these headers.
pub(super) fn to_table(headers: &BTreeMap<String, Header>) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    for (name, header) in headers {
        let value = header
            .value()
            .map_err(|what| format!("header {name}: {what}"))?;
        table.insert(short(name)?, value);
    }
    Ok(table)
}

/// A text as short as names and properties have to be.
pub(super) fn short(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text)
        .map_err(|_| format!("a text of {} bytes is longer than 255 bytes", text.len()))
}

impl Header {
    fn of(value: &AMQPValue) -> Self {
        Self::Typed(match value {
            AMQPValue::Boolean(truth) => return Self::Truth(*truth),
            AMQPValue::ShortString(text) => return Self::Text(text.to_string()),
            AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => return Self::Text(text.to_owned()),
                Err(_) => Typed::Text(STANDARD.encode(text.as_bytes())),
            },
            AMQPValue::ShortShortInt(number) => Typed::Int8(*number),
            AMQPValue::ShortShortUInt(number) => Typed::Uint8(*number),
            AMQPValue::ShortInt(number) => Typed::Int16(*number),
            AMQPValue::ShortUInt(number) => Typed::Uint16(*number),
            AMQPValue::LongInt(number) => Typed::Int32(*number),
            AMQPValue::LongUInt(number) => Typed::Uint32(*number),
            AMQPValue::LongLongInt(number) => Typed::Int64(*number),
            AMQPValue::Float(number) if number.is_finite() => Typed::Float(number.to_string()),
            AMQPValue::Float(number) => Typed::Float(format!("0x{:08x}", number.to_bits())),
            AMQPValue::Double(number) if number.is_finite() => Typed::Double(number.to_string()),
            AMQPValue::Double(number) => Typed::Double(format!("0x{:016x}", number.to_bits())),
            AMQPValue::DecimalValue(number) => Typed::Decimal {
                scale: number.scale,
                value: number.value,
            },
            AMQPValue::Timestamp(seconds) => Typed::Timestamp(*seconds),
            AMQPValue::ByteArray(bytes) => Typed::Bytes(STANDARD.encode(bytes.as_slice())),
            AMQPValue::FieldArray(values) => {
                Typed::List(values.as_slice().iter().map(Self::of).collect())
            }
            AMQPValue::FieldTable(table) => Typed::Table(of_table(table)),
            AMQPValue::Void => Typed::Void(()),
        })
    }

    fn value(&self) -> Result<AMQPValue, String> {
        let bytes = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|error| format!("not base64: {error}"))
        };
        let no_number = |text: &str| format!("`{text}` is not a number");
        Ok(match self {
            Self::Truth(truth) => AMQPValue::Boolean(*truth),
            Self::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Self::Typed(typed) => match typed {
                Typed::Int8(number) => AMQPValue::ShortShortInt(*number),
                Typed::Uint8(number) => AMQPValue::ShortShortUInt(*number),
                Typed::Int16(number) => AMQPValue::ShortInt(*number),
                Typed::Uint16(number) => AMQPValue::ShortUInt(*number),
                Typed::Int32(number) => AMQPValue::LongInt(*number),
                Typed::Uint32(number) => AMQPValue::LongUInt(*number),
                Typed::Int64(number) => AMQPValue::LongLongInt(*number),
                Typed::Float(text) => AMQPValue::Float(match text.strip_prefix("0x") {
                    Some(bits) => {
                        f32::from_bits(u32::from_str_radix(bits, 16).map_err(|_| no_number(text))?)
                    }
                    None => text.parse().map_err(|_| no_number(text))?,
                }),
                Typed::Double(text) => AMQPValue::Double(match text.strip_prefix("0x") {
                    Some(bits) => {
                        f64::from_bits(u64::from_str_radix(bits, 16).map_err(|_| no_number(text))?)
                    }
                    None => text.parse().map_err(|_| no_number(text))?,
                }),
                Typed::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue {
                    scale: *scale,
                    value: *value,
                }),
                Typed::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
                Typed::Text(text) => AMQPValue::LongString(bytes(text)?.into()),
                Typed::Bytes(text) => AMQPValue::ByteArray(bytes(text)?.into()),
                Typed::List(values) => {
                    let values: Result<Vec<_>, _> = values.iter().map(Self::value).collect();
                    AMQPValue::FieldArray(values?.into())
                }
                Typed::Table(headers) => AMQPValue::FieldTable(to_table(headers)?),
                Typed::Void(()) => AMQPValue::Void,
            },
        })
    }
}

/// A header as a person reads it.
pub(super) fn shown(value: &AMQPValue) -> String {
    match Header::of(value) {
        Header::Text(text) => text,
        Header::Truth(truth) => truth.to_string(),
        Header::Typed(Typed::Float(number) | Typed::Double(number)) => number,
        Header::Typed(typed) => match value {
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
