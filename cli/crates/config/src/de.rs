//! From a tree to types, by serde: `serde_path_to_error` says at which path a failure is,
//! `serde_ignored` which keys no type has, and the tree where in the sources that is. The
//! deserializer below them is for what those of formats don't do: a failure keeps its kind,
//! and strings from outside stand for numbers and booleans where those are wanted.

use std::collections::BTreeMap;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use serde_path_to_error::Segment;

use super::config_tree::{ConfigNode, ConfigValue, KeyPath};
use super::source::ValueSpan;

/// Why a tree is not a configuration.
#[derive(Debug, Clone)]
pub(super) struct DeserializeError {
    /// What is wrong.
    pub kind: DeserializeErrorKind,
    /// The keys from the root to the value that is wrong.
    pub path: KeyPath,
    /// Where that is written.
    pub span: ValueSpan,
}

/// What can be wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeserializeErrorKind {
    /// The table has no such key.
    UnknownKey,
    /// No choice is called that.
    UnknownVariant {
        /// What it says.
        found: String,
        /// The choices.
        choices: &'static [&'static str],
    },
    /// A key must be there and isn't.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of another type.
    WrongType {
        /// What a person calls the wanted type.
        expected: String,
        /// What a person calls the type that is there.
        found: &'static str,
        /// The value with its quotes taken off or put on, where that is all
        /// that is wrong.
        suggestion: Option<String>,
    },
    /// A value of the right type that isn't valid.
    Invalid {
        /// Why not.
        reason: String,
        /// What to write instead.
        help: Option<String>,
    },
    /// A name that can't be one in its table.
    InvalidKey {
        /// Why not.
        reason: String,
        /// What to write instead.
        help: Option<String>,
    },
}

impl DeserializeErrorKind {
    /// The same, of a key.
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

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let found = found.to_owned();
        Self::UnknownVariant {
            found,
            choices: known,
        }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing { key }
    }
}

/// serde's name of a type in a person's words.
fn describe_type(expected: &str) -> String {
    match expected {
        "a map" => "a table".to_owned(),
        "a sequence" => "an array".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a string".to_owned(),
        _ => expected.to_owned(),
    }
}

/// Reads a `T` from `tree`. Keys that it does not have are added to `unknown`.
pub(super) fn deserialize<'de, T: de::Deserialize<'de>>(
    tree: &'de ConfigNode,
    unknown: &mut BTreeMap<KeyPath, ValueSpan>,
) -> Result<T, Box<DeserializeError>> {
    let place = |path: &KeyPath| tree.get(path).map_or(&tree.span, |node| &node.span).clone();
    let mut note = |ignored: serde_ignored::Path<'_>| {
        let path = ignored_key_path(&ignored);
        let place = place(&path);
        unknown.insert(path, place);
    };
    let reader = serde_ignored::Deserializer::new(NodeDeserializer(tree), &mut note);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path: KeyPath = error.path().iter().filter_map(segment_key).collect();
        Box::new(DeserializeError {
            span: place(&path),
            path,
            kind: error.into_inner(),
        })
    })
}

/// The key or the index that a segment stands for. Choices have none: their place is that of
/// their value.
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

/// A node, ready to be read.
#[derive(Clone, Copy)]
struct NodeDeserializer<'de>(&'de ConfigNode);

impl NodeDeserializer<'_> {
    fn wrong_type<T>(self, expected: &str) -> Result<T, DeserializeErrorKind> {
        let instead = match &self.0.value {
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
                // Everything from outside is a string: that is no news.
                ConfigValue::Untyped(_) => "not one",
                value => value.type_description(),
            },
            suggestion: instead,
        })
    }

    /// The value that a word from outside stands for.
    fn parse_untyped<T: std::str::FromStr>(
        self,
        expected: &str,
    ) -> Result<T, DeserializeErrorKind> {
        match &self.0.value {
            ConfigValue::Untyped(word) => {
                word.trim().parse().or_else(|_| self.wrong_type(expected))
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

/// All whole numbers are read as the one kind that TOML has.
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
            // How a variable or a flag takes back what a file sets.
            ConfigValue::Untyped(word) if word.is_empty() => visitor.visit_none(),
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

    /// The value of an unknown key: the key is what is wrong, whatever the value is.
    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, DeserializeErrorKind> {
        visitor.visit_unit()
    }
}

/// The entries of a table. A key that can't be read is wrong itself, and not its value.
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
            None => Err(de::Error::custom("a value was asked for before its key")),
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

    fn read(key: &str, word: &str) -> (Result<Sample, Box<DeserializeError>>, Vec<KeyPath>) {
        let place = ValueSpan {
            source: 0,
            key: 0..1,
            value: 1..2,
        };
        let tree = ConfigNode::from_untyped(&[key.to_owned()], word.to_owned(), &place);
        let mut unknown = BTreeMap::new();
        let read = deserialize(&tree, &mut unknown);
        (read, unknown.into_keys().collect())
    }

    #[test]
    fn words_stand_for_booleans_and_numbers() {
        let read = |key, word| read(key, word).0.unwrap();
        assert_eq!(read("switch", "true").switch, Some(true));
        assert_eq!(read("count", "7").count, Some(7));
        assert_eq!(read("count", "").count, None);
    }

    #[test]
    fn faults_have_their_kind_and_place() {
        let fault = read("switch", "maybe").0.unwrap_err();
        assert!(matches!(fault.kind, DeserializeErrorKind::WrongType { .. }));
        assert_eq!(fault.path, ["switch"]);
        let fault = read("count", "70000").0.unwrap_err();
        assert!(matches!(fault.kind, DeserializeErrorKind::Invalid { .. }));
        assert_eq!(fault.path, ["count"]);
    }

    #[test]
    fn unknown_keys_are_noted_and_end_nothing() {
        let (read, unknown) = read("counts", "7");
        assert_eq!(read.unwrap().count, None);
        assert_eq!(unknown, [["counts"]]);
    }
}
