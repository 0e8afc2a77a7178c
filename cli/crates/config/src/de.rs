//! Deserialization of a tree with serde: `serde_path_to_error` provides the path of an error,
//! `serde_ignored` the keys that no type has, and the tree their spans in the sources. The
//! deserializer below does what those of formats do not: an error keeps its kind, and strings
//! from variables and flags are parsed as numbers and booleans if those are expected.

use std::collections::BTreeMap;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use serde_path_to_error::Segment;

use super::config_tree::{ConfigNode, ConfigValue, KeyPath};
use super::source::ValueSpan;

/// An error of a tree that is not a valid configuration.
#[derive(Debug, Clone)]
pub(super) struct DeserializeError {
    /// The kind of error.
    pub kind: DeserializeErrorKind,
    /// The keys from the root to the invalid value.
    pub path: KeyPath,
    /// The span of the value in its source.
    pub span: ValueSpan,
}

/// The kind of a [`DeserializeError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeserializeErrorKind {
    /// The table has no such key.
    UnknownKey,
    /// The value is not one of the choices.
    UnknownVariant {
        /// The value.
        found: String,
        /// The choices.
        choices: &'static [&'static str],
    },
    /// A required key is missing.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// The value has the wrong type.
    WrongType {
        /// The name of the expected type.
        expected: String,
        /// The name of the actual type.
        found: &'static str,
        /// The value with quotes added or removed, if that makes it valid.
        suggestion: Option<String>,
    },
    /// The value has the right type but is not valid.
    Invalid {
        /// The reason, as a lower-case fragment.
        reason: String,
        /// The valid alternative.
        help: Option<String>,
    },
    /// The key is not valid in its table.
    InvalidKey {
        /// The reason, as a lower-case fragment.
        reason: String,
        /// The valid alternative.
        help: Option<String>,
    },
}

impl DeserializeErrorKind {
    /// Converts the error of a value into that of a key.
    fn into_key_error(self) -> Self {
        match self {
            Self::Invalid { reason, help } => Self::InvalidKey { reason, help },
            other => other,
        }
    }
}

impl std::fmt::Display for DeserializeErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for DeserializeErrorKind {}

impl de::Error for DeserializeErrorKind {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        // See `InvalidValue`'s Display.
        let (reason, help) = match text.split_once('\n') {
            Some((reason, help)) => (reason.to_owned(), Some(help.to_owned())),
            None => (text, None),
        };
        Self::Invalid { reason, help }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::WrongType {
            expected: describe_type(&expected.to_string()),
            found: match found {
                Unexpected::Bool(_) => "a boolean",
                Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
                Unexpected::Float(_) => "a number with a fraction",
                Unexpected::Str(_) => "a string",
                Unexpected::Seq => "an array",
                Unexpected::Map => "a table",
                _ => "something else",
            },
            suggestion: None,
        }
    }

    fn unknown_variant(found: &str, choices: &'static [&'static str]) -> Self {
        let found = found.to_owned();
        Self::UnknownVariant { found, choices }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing { key }
    }
}

/// Converts serde's name of a type into the name for messages.
fn describe_type(expected: &str) -> String {
    match expected {
        "a map" => "a table".to_owned(),
        "a sequence" => "an array".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a string".to_owned(),
        _ => expected.to_owned(),
    }
}

/// Deserializes a `T` from `tree`. Keys that it does not have are added to `unknown`.
pub(super) fn deserialize<'de, T: de::Deserialize<'de>>(
    tree: &'de ConfigNode,
    unknown: &mut BTreeMap<KeyPath, ValueSpan>,
) -> Result<T, Box<DeserializeError>> {
    let span_at = |path: &KeyPath| tree.get(path).map_or(&tree.span, |node| &node.span).clone();
    let mut record_unknown = |ignored: serde_ignored::Path<'_>| {
        let path = ignored_key_path(&ignored);
        let span = span_at(&path);
        unknown.insert(path, span);
    };
    let deserializer =
        serde_ignored::Deserializer::new(NodeDeserializer(tree), &mut record_unknown);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path: KeyPath = error.path().iter().filter_map(segment_key).collect();
        Box::new(DeserializeError {
            span: span_at(&path),
            path,
            kind: error.into_inner(),
        })
    })
}

/// Returns the key or the index of a segment. Choices have none: their span is that of their
/// value.
fn segment_key(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn ignored_key_path(path: &serde_ignored::Path<'_>) -> KeyPath {
    use serde_ignored::Path as Ignored;
    let (parent, key) = match path {
        Ignored::Root => return KeyPath::new(),
        Ignored::Map { parent, key } => (parent, Some(key.clone())),
        Ignored::Seq { parent, index } => (parent, Some(index.to_string())),
        Ignored::Some { parent }
        | Ignored::NewtypeStruct { parent }
        | Ignored::NewtypeVariant { parent } => (parent, None),
    };
    let mut path = ignored_key_path(parent);
    path.extend(key);
    path
}

/// Deserializes a node.
#[derive(Clone, Copy)]
struct NodeDeserializer<'de>(&'de ConfigNode);

impl NodeDeserializer<'_> {
    fn wrong_type<T>(self, expected: &str) -> Result<T, DeserializeErrorKind> {
        let suggestion = match &self.0.value {
            ConfigValue::String(text) if expected == "a whole number" => {
                text.parse::<i64>().ok().map(|number| number.to_string())
            }
            ConfigValue::Integer(number) if expected == "a string" => Some(format!("\"{number}\"")),
            ConfigValue::Boolean(value) if expected == "a string" => Some(format!("\"{value}\"")),
            _ => None,
        };
        Err(DeserializeErrorKind::WrongType {
            expected: expected.to_owned(),
            found: match &self.0.value {
                // Every value of a variable or a flag is a string, so its type says nothing.
                ConfigValue::Untyped(_) => "not one",
                value => value.type_description(),
            },
            suggestion,
        })
    }

    /// Parses the string of a variable or a flag.
    fn parse_untyped<T: std::str::FromStr>(
        self,
        expected: &str,
    ) -> Result<T, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::Untyped(text) => {
                text.trim().parse().or_else(|_| self.wrong_type(expected))
            }
            _ => self.wrong_type(expected),
        }
    }
}

impl<'de> IntoDeserializer<'de, DeserializeErrorKind> for NodeDeserializer<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Reads all whole numbers as `i64`, the only integer type of TOML.
macro_rules! deserialize_as_i64 {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeErrorKind> {
            self.deserialize_i64(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'de> {
    type Error = DeserializeErrorKind;

    fn deserialize_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::Table(entries) => visitor.visit_map(TableAccess {
                entries: entries.iter(),
                value: None,
            }),
            ConfigValue::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.iter().map(NodeDeserializer)))
            }
            ConfigValue::String(text) | ConfigValue::Untyped(text) => visitor.visit_str(text),
            ConfigValue::Integer(number) => visitor.visit_i64(*number),
            ConfigValue::Float(number) => visitor.visit_f64(*number),
            ConfigValue::Boolean(value) => visitor.visit_bool(*value),
            ConfigValue::Unsupported(_) => {
                self.wrong_type(&describe_type(&(&visitor as &dyn de::Expected).to_string()))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::Boolean(value) => visitor.visit_bool(*value),
            _ => visitor.visit_bool(self.parse_untyped("true or false")?),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::Integer(number) => visitor.visit_i64(*number),
            _ => visitor.visit_i64(self.parse_untyped("a whole number")?),
        }
    }

    deserialize_as_i64! {
        deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_string<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::String(text) | ConfigValue::Untyped(text) => visitor.visit_str(text),
            _ => self.wrong_type("a string"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            // An empty variable or flag unsets the key of a file.
            ConfigValue::Untyped(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::String(text) | ConfigValue::Untyped(text) => {
                visitor.visit_enum(StrDeserializer::new(text))
            }
            _ => self.wrong_type("a string"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::Table(_) => self.deserialize_any(visitor),
            _ => self.wrong_type("a table"),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf
        unit unit_struct seq tuple tuple_struct identifier
    }

    /// Accepts the value of an unknown key, because the error is the key.
    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        visitor.visit_unit()
    }
}

/// Deserializes the entries of a table. An error of a key is an error of the key itself, not of
/// its value.
struct TableAccess<'de> {
    entries: std::collections::btree_map::Iter<'de, String, ConfigNode>,
    value: Option<&'de ConfigNode>,
}

impl<'de> de::MapAccess<'de> for TableAccess<'de> {
    type Error = DeserializeErrorKind;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DeserializeErrorKind> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let key = seed.deserialize(StrDeserializer::new(key));
        key.map(Some).map_err(DeserializeErrorKind::into_key_error)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, DeserializeErrorKind> {
        match self.value.take() {
            Some(value) => seed.deserialize(NodeDeserializer(value)),
            None => Err(de::Error::custom("a value was requested before its key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        switch: Option<bool>,
        count: Option<u16>,
    }

    fn read(key: &str, text: &str) -> (Result<Sample, Box<DeserializeError>>, Vec<KeyPath>) {
        let span = ValueSpan {
            source: 0,
            key: 0..1,
            value: 1..2,
        };
        let tree = ConfigNode::from_untyped(&[key.to_owned()], text.to_owned(), &span);
        let mut unknown = BTreeMap::new();
        let result = deserialize(&tree, &mut unknown);
        (result, unknown.into_keys().collect())
    }

    #[test]
    fn untyped_strings_are_parsed_as_booleans_and_numbers() {
        let read = |key, text| read(key, text).0.unwrap();
        assert_eq!(read("switch", "true").switch, Some(true));
        assert_eq!(read("count", "7").count, Some(7));
        assert_eq!(read("count", "").count, None);
    }

    #[test]
    fn deserialize_errors_have_kind_and_path() {
        let error = read("switch", "maybe").0.unwrap_err();
        assert!(matches!(error.kind, DeserializeErrorKind::WrongType { .. }));
        assert_eq!(error.path, ["switch"]);
        let error = read("count", "70000").0.unwrap_err();
        assert!(matches!(error.kind, DeserializeErrorKind::Invalid { .. }));
        assert_eq!(error.path, ["count"]);
    }

    #[test]
    fn unknown_keys_are_recorded_without_an_error() {
        let (result, unknown) = read("counts", "7");
        assert_eq!(result.unwrap().count, None);
        assert_eq!(unknown, [["counts"]]);
    }
}
