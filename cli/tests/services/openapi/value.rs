//! What fits a schema, and how to spoil it.

use std::collections::HashMap;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::document::Document;

/// How many of the latest values of a name are used again.
const LATEST: usize = 3;

/// What answers told: ids and the like by the name of their field.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<String, Vec<String>>);

impl Known {
    /// Takes all ids out of an answer.
    pub(super) fn learn(&mut self, body: &Value) {
        match body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name.ends_with("Id") || name == "sku" => {
                            let texts = self.0.entry(name.clone()).or_default();
                            texts.retain(|known| known != text);
                            texts.push(text.to_owned());
                        }
                        _ => self.learn(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            _ => {}
        }
    }

    fn of(&self, name: &str) -> &[String] {
        let texts = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        &texts[texts.len().saturating_sub(LATEST)..]
    }
}

/// Chance, that is the same each time.
pub(super) struct Values {
    random: fastrand::Rng,
    runner: TestRunner,
}

impl Values {
    /// The chance of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            runner: TestRunner::deterministic(),
        }
    }

    /// Once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A number below this one.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.random.usize(..end)
    }

    /// A word that can stand in a header. Now and then one that stood there before.
    pub(super) fn word(&mut self) -> String {
        format!("key-{}", self.below(100))
    }

    /// An id of that name, or one that nobody knows.
    pub(super) fn id(&mut self, known: &Known, name: &str) -> String {
        let strange = self.one_in(8);
        match self.random.choice(known.of(name)) {
            Some(id) if !strange => id.clone(),
            _ => self.matching("[a-z0-9_'%;\u{e9} ]{1,12}"),
        }
    }

    /// Something that fits a schema. Texts of a name that is known are known ones,
    /// mostly.
    pub(super) fn fitting(
        &mut self,
        document: &Document,
        schema: &Value,
        name: &str,
        known: &Known,
    ) -> Value {
        let schema = document.resolve(schema);
        if let Some(one) = schema["oneOf"].as_array() {
            let schema = &one[self.below(one.len())];
            return self.fitting(document, schema, name, known);
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[self.below(words.len())].clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[self.below(kinds.len())].as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") => self.object(document, schema, known),
            Some("array") => {
                let least = number(&schema["minItems"]).unwrap_or_default() as usize;
                let items = least + self.below(3);
                let item = &schema["items"];
                let item = |_| self.fitting(document, item, name, known);
                Value::Array((0..items).map(item).collect())
            }
            Some("string") => Value::String(self.text(schema, name, known)),
            Some("integer") => {
                let least = number(&schema["minimum"]).unwrap_or_default() as i64;
                let most = if schema["format"] == "int64" {
                    i64::MAX
                } else {
                    i32::MAX.into()
                };
                json!(if self.one_in(12) {
                    most
                } else {
                    least + self.random.i64(0..5)
                })
            }
            Some("number") => json!(f64::from(self.random.u32(1..100_000)) / 100.0),
            Some("boolean") => json!(self.random.bool()),
            Some("null") => Value::Null,
            _ => panic!("no kind of value is known for {schema}"),
        }
    }

    fn object(&mut self, document: &Document, schema: &Value, known: &Known) -> Value {
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.contains(&json!(name)));
        let mut fields = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if is_required(name) || self.random.bool() {
                fields.insert(name.clone(), self.fitting(document, schema, name, known));
            }
        }
        Value::Object(fields)
    }

    fn text(&mut self, schema: &Value, name: &str, known: &Known) -> String {
        let strange = self.one_in(12);
        if let Some(text) = self.random.choice(known.of(name))
            && !strange
        {
            return text.clone();
        }
        match (schema["format"].as_str(), schema["pattern"].as_str()) {
            (Some("date"), _) => {
                self.matching("20[3-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])")
            }
            (Some("date-time"), _) => self
                .matching("20[3-9][0-9]-(0[1-9]|1[0-2])-0[1-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z"),
            (_, Some(pattern)) => self.matching(pattern),
            _ => self.matching("\\PC{0,16}"),
        }
    }

    fn matching(&mut self, pattern: &str) -> String {
        // A text that is made of the whole of it needs no ends.
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
        let strategy = string_regex(pattern).unwrap();
        strategy.new_tree(&mut self.runner).unwrap().current()
    }

    /// Makes one thing in a body another one: it is left out, of another kind, or of a
    /// size that nobody thought of.
    pub(super) fn spoil(&mut self, body: &mut Value) {
        let place = match body {
            Value::Object(fields) if !fields.is_empty() && !self.one_in(6) => {
                let names: Vec<String> = fields.keys().cloned().collect();
                let name = &names[self.below(names.len())];
                if self.one_in(4) {
                    fields.remove(name);
                    return;
                }
                fields.get_mut(name)
            }
            Value::Array(items) if !items.is_empty() && !self.one_in(6) => {
                let at = self.below(items.len());
                items.get_mut(at)
            }
            _ => {
                *body = self.odd();
                return;
            }
        };
        if let Some(inner) = place {
            self.spoil(inner);
        }
    }

    fn odd(&mut self) -> Value {
        let odd = [
            Value::Null,
            json!(""),
            json!(" "),
            json!("\0"),
            json!("'; DROP TABLE orders; --"),
            json!("x".repeat(20_000)),
            json!(-1),
            json!(0),
            json!(1e300),
            json!(u64::MAX),
            json!(true),
            json!([]),
            json!([[]]),
            json!({}),
            json!({"": null}),
        ];
        odd[self.below(odd.len())].clone()
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}
