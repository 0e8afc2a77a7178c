//! From a tree to types, by serde. What sets this deserializer apart: a failure
//! keeps its kind and its place, strings from outside stand for numbers and
//! booleans where those are wanted, and it notes where secrets stand.

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use super::source::Place;
use super::tree::{Node, Path, Value};
use super::values::Secret;

/// Why a tree is not a configuration.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// With which value.
    pub at: Option<Box<(Path, Place)>>,
}

/// What can be wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The table has no such key.
    UnknownKey {
        /// The keys that it has.
        known: &'static [&'static str],
    },
    /// No choice is called that.
    UnknownChoice {
        /// What it says.
        found: String,
        /// The choices.
        known: &'static [&'static str],
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
        instead: Option<String>,
    },
    /// A value of the right type that isn't valid.
    Invalid {
        /// Why not.
        reason: String,
        /// What to write instead.
        help: Option<String>,
    },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Self { kind, at: None }
    }

    /// The fault, at `place` unless something deeper has said where already.
    fn located(mut self, path: &RefCell<Path>, place: &Place) -> Self {
        self.at
            .get_or_insert_with(|| Box::new((path.borrow().clone(), place.clone())));
        self
    }
}

impl de::Error for Fault {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        // See `Refusal`'s Display.
        let (reason, help) = match text.split_once('\n') {
            Some((reason, help)) => (reason.to_owned(), Some(help.to_owned())),
            None => (text, None),
        };
        Self::new(FaultKind::Invalid { reason, help })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(FaultKind::WrongType {
            expected: in_words(&expected.to_string()),
            found: match found {
                Unexpected::Bool(_) => "a boolean",
                Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
                Unexpected::Float(_) => "a number with a fraction",
                Unexpected::Str(_) => "a string",
                Unexpected::Seq => "an array",
                Unexpected::Map => "a table",
                _ => "something else",
            },
            instead: None,
        })
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let found = found.to_owned();
        Self::new(FaultKind::UnknownChoice { found, known })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(FaultKind::UnknownKey { known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(FaultKind::Missing { key })
    }
}

/// serde's name of a type in a person's words.
fn in_words(expected: &str) -> String {
    match expected {
        "a map" => "a table".to_owned(),
        "a sequence" => "an array".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a string".to_owned(),
        _ => expected.to_owned(),
    }
}

/// What is noted while a tree is deserialized.
#[derive(Debug, Default)]
pub(super) struct Notes {
    path: RefCell<Path>,
    secrets: RefCell<Vec<Path>>,
}

impl Notes {
    /// The paths of the secrets that were met, valid or not.
    pub fn into_secrets(self) -> Vec<Path> {
        self.secrets.into_inner()
    }
}

/// Reads a `T` from `tree`.
pub(super) fn deserialize<'de, T: de::Deserialize<'de>>(
    tree: &'de Node,
    notes: &Notes,
) -> Result<T, Fault> {
    // A fault leaves the path where it struck.
    notes.path.borrow_mut().clear();
    T::deserialize(Reader { node: tree, notes })
}

/// A node, ready to be read.
#[derive(Clone, Copy)]
struct Reader<'de, 'n> {
    node: &'de Node,
    notes: &'n Notes,
}

impl<'de> Reader<'de, '_> {
    fn located<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.located(&self.notes.path, &self.node.place))
    }

    fn wrong_type(self, expected: &str) -> Fault {
        let instead = match &self.node.value {
            Value::Text(text) if expected == "a whole number" => {
                text.parse::<i64>().ok().map(|number| number.to_string())
            }
            Value::Integer(number) if expected == "a string" => Some(format!("\"{number}\"")),
            Value::Boolean(value) if expected == "a string" => Some(format!("\"{value}\"")),
            _ => None,
        };
        Fault::new(FaultKind::WrongType {
            expected: expected.to_owned(),
            found: match &self.node.value {
                // Everything from outside is a string: that is no news.
                Value::Word(_) => "not one",
                value => value.kind(),
            },
            instead,
        })
    }

    fn fail<T>(self, expected: &str) -> Result<T, Fault> {
        self.located(Err(self.wrong_type(expected)))
    }
}

/// All whole numbers are read as the one kind that TOML has.
macro_rules! whole_numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.deserialize_i64(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::Table(entries) => visitor.visit_map(Entries {
                rest: entries.iter(),
                current: None,
                notes: self.notes,
            }),
            Value::Array(items) => visitor.visit_seq(Items {
                rest: items.iter().enumerate(),
                notes: self.notes,
            }),
            Value::Text(text) | Value::Word(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Other(_) => {
                Err(self.wrong_type(&in_words(&(&visitor as &dyn de::Expected).to_string())))
            }
        };
        self.located(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Boolean(value) => self.located(visitor.visit_bool(*value)),
            Value::Word(word) => match word.trim().parse() {
                Ok(value) => self.located(visitor.visit_bool(value)),
                Err(_) => self.fail("true or false"),
            },
            _ => self.fail("true or false"),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Integer(number) => self.located(visitor.visit_i64(*number)),
            Value::Word(word) => match word.trim().parse() {
                Ok(number) => self.located(visitor.visit_i64(number)),
                Err(_) => self.fail("a whole number"),
            },
            _ => self.fail("a whole number"),
        }
    }

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) | Value::Word(text) => self.located(visitor.visit_str(text)),
            _ => self.fail("a string"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            // How a variable or a flag takes back what a file sets.
            Value::Word(word) if word.is_empty() => self.located(visitor.visit_none()),
            _ => self.located(visitor.visit_some(self)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == Secret::NEWTYPE {
            let path = self.notes.path.borrow().clone();
            self.notes.secrets.borrow_mut().push(path);
        }
        self.located(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) | Value::Word(text) => {
                let choice: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                self.located(visitor.visit_enum(choice))
            }
            _ => self.fail("a string"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Table(_) => self.deserialize_any(visitor),
            _ => self.fail("a table"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Table(_) => self.deserialize_any(visitor),
            _ => self.fail("a table"),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf
        unit unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

/// The entries of a table.
struct Entries<'de, 'n> {
    rest: std::collections::btree_map::Iter<'de, String, Node>,
    current: Option<(&'de str, &'de Node)>,
    notes: &'n Notes,
}

impl<'de> de::MapAccess<'de> for Entries<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.current = Some((key, node));
        self.notes.path.borrow_mut().push(key.clone());
        let reader: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        let name = seed.deserialize(reader).map_err(|fault| {
            let place = Place {
                value: node.place.key.clone(),
                ..node.place.clone()
            };
            fault.located(&self.notes.path, &place)
        })?;
        Ok(Some(name))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((_, node)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let reader = Reader {
            node,
            notes: self.notes,
        };
        let value = reader.located(seed.deserialize(reader))?;
        self.notes.path.borrow_mut().pop();
        Ok(value)
    }
}

/// The items of an array.
struct Items<'de, 'n> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
    notes: &'n Notes,
}

impl<'de> de::SeqAccess<'de> for Items<'de, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some((index, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.notes.path.borrow_mut().push(index.to_string());
        let reader = Reader {
            node,
            notes: self.notes,
        };
        let value = reader.located(seed.deserialize(reader))?;
        self.notes.path.borrow_mut().pop();
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::source::Place;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        switch: Option<bool>,
        count: Option<u16>,
    }

    fn read(key: &str, word: &str) -> Result<Sample, Fault> {
        let place = Place {
            source: 0,
            key: 0..1,
            value: 1..2,
        };
        let tree = Node::from_word(&[key.to_owned()], word.to_owned(), &place);
        deserialize(&tree, &Notes::default())
    }

    #[test]
    fn words_stand_for_booleans_and_numbers() {
        assert_eq!(read("switch", "true").unwrap().switch, Some(true));
        assert_eq!(read("count", "7").unwrap().count, Some(7));
        assert_eq!(read("count", "").unwrap().count, None);
    }

    #[test]
    fn faults_have_their_kind_and_place() {
        let fault = read("switch", "maybe").unwrap_err();
        assert!(matches!(fault.kind, FaultKind::WrongType { .. }));
        assert_eq!(fault.at.unwrap().0, ["switch"]);
        let fault = read("count", "70000").unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Invalid { .. }));
        let fault = read("counts", "7").unwrap_err();
        assert!(matches!(
            fault.kind,
            FaultKind::UnknownKey {
                known: ["switch", "count"]
            }
        ));
    }
}
