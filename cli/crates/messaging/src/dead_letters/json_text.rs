//! JSON as text: numbers keep every digit, and field values stay unchanged.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An object whose field values are JSON texts, in their order.
#[derive(Debug)]
pub(super) struct RawObject(Vec<(String, Box<RawValue>)>);

impl RawObject {
    /// Sets a field to a string, in place or at the end.
    pub(super) fn set_string(&mut self, name: &str, value: &str) -> Result<(), serde_json::Error> {
        let value = serde_json::value::to_raw_value(value)?;
        self.0.retain({
            let mut seen = false;
            move |(field, _)| field != name || !std::mem::replace(&mut seen, true)
        });
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawObject;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawObject(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Pretty-prints a JSON text. Only the white space between tokens changes.
pub(super) fn pretty_print(json: &RawValue) -> String {
    let (mut lines, mut depth) = (String::with_capacity(json.get().len() * 2), 0_usize);
    let mut characters = json.get().chars().peekable();
    let indent = |lines: &mut String, depth: usize| {
        lines.push('\n');
        lines.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                lines.push('"');
                let mut escaped = false;
                for character in characters.by_ref() {
                    lines.push(character);
                    match character {
                        '"' if !escaped => break,
                        _ => escaped = character == '\\' && !escaped,
                    }
                }
            }
            '{' | '[' => {
                lines.push(character);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                match characters.next_if(|next| ['}', ']'].contains(next)) {
                    Some(end) => lines.push(end),
                    None => {
                        depth += 1;
                        indent(&mut lines, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                indent(&mut lines, depth);
                lines.push(character);
            }
            ',' => {
                lines.push(',');
                indent(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => lines.push(other),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn numbers_keep_every_digit() {
        let text =
            r#"{"id":"a","n":12345678901234567890123,"amount":0.1000,"e":1E400,"t":"a\"{ b"}"#;
        let lines = pretty_print(&raw(text));
        for part in ["12345678901234567890123", "0.1000", "1E400", r#""a\"{ b""#] {
            assert!(lines.contains(part), "{lines}");
        }
        let mut object: RawObject = serde_json::from_str(&lines).unwrap();
        object.set_string("id", "b").unwrap();
        object.set_string("new", "c").unwrap();
        let text = serde_json::to_string(&object).unwrap();
        assert!(text.starts_with(r#"{"id":"b","n":12345678901234567890123,"amount":0.1000,"#));
        assert!(text.ends_with(r#","new":"c"}"#));
    }

    #[test]
    fn set_string_removes_duplicates_of_the_field() {
        let mut object: RawObject = serde_json::from_str(r#"{"id":1,"id":2}"#).unwrap();
        object.set_string("id", "x").unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"id":"x"}"#);
    }

    proptest! {
        #[test]
        fn pretty_print_keeps_the_value(texts in prop::collection::vec("[\\PC\n\"\\\\{}\\[\\]]{0,8}", 0..4)) {
            let value = serde_json::json!({"a": texts, "b": {}, "c": [[], {"d": null}]});
            let lines = pretty_print(&raw(&value.to_string()));
            prop_assert_eq!(serde_json::from_str::<Value>(&lines).unwrap(), value.clone());
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(lines, pretty);
        }
    }
}
