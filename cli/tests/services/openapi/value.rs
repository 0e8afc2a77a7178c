//! Generates values for a schema, and corrupts them.

use std::collections::HashMap;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::document::Document;

/// The number of latest values of a name that are used again.
const KEPT_IDS: usize = 3;

/// The ids in earlier answers, by field name.
#[derive(Debug, Default)]
pub(super) struct KnownIds(HashMap<String, Vec<String>>);

impl KnownIds {
    /// Collects all ids of an answer.
    pub(super) fn collect(&mut self, body: &Value) {
        match body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name.ends_with("Id") || name == "sku" => {
                            let texts = self.0.entry(name.clone()).or_default();
                            texts.retain(|known| known != text);
                            texts.push(text.to_owned());
                        }
                        _ => self.collect(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            _ => {}
        }
    }

    /// Returns the newest id of this name.
    pub(super) fn newest(&self, name: &str) -> Option<&str> {
        self.latest(name).last().map(String::as_str)
    }

    fn latest(&self, name: &str) -> &[String] {
        let texts = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        &texts[texts.len().saturating_sub(KEPT_IDS)..]
    }
}

/// Generates values pseudo-randomly from a seed.
pub(super) struct ValueGenerator {
    random: fastrand::Rng,
    runner: TestRunner,
}

impl ValueGenerator {
    /// Creates a generator from a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            runner: TestRunner::deterministic(),
        }
    }

    /// Returns true once in `times` calls on average.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns a number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.random.usize(..end)
    }

    /// Returns a header value. Values repeat now and then.
    pub(super) fn header_value(&mut self) -> String {
        format!("key-{}", self.below(100))
    }

    /// Returns a known id of this name, or a random one.
    pub(super) fn id(&mut self, known: &KnownIds, name: &str) -> String {
        let is_random = self.one_in(8);
        match self.random.choice(known.latest(name)) {
            Some(id) if !is_random => id.clone(),
            _ => self.matching("[a-z0-9_'%;\u{e9} ]{1,12}"),
        }
    }

    /// Returns a value that is valid for a schema. A text with the name of a known id is usually
    /// a known id.
    pub(super) fn valid(
        &mut self,
        document: &Document,
        schema: &Value,
        name: &str,
        known: &KnownIds,
    ) -> Value {
        let schema = document.resolve(schema);
        for keyword in ["oneOf", "anyOf"] {
            if let Some(alternatives) = schema[keyword].as_array() {
                let schema = &alternatives[self.below(alternatives.len())];
                return self.valid(document, schema, name, known);
            }
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
                let minimum = number(&schema["minItems"]).unwrap_or_default() as usize;
                let items = minimum + self.below(3);
                let item = &schema["items"];
                let item = |_| self.valid(document, item, name, known);
                Value::Array((0..items).map(item).collect())
            }
            Some("string") => Value::String(self.text(schema, name, known)),
            Some("integer") => {
                let minimum = number(&schema["minimum"]).unwrap_or_default() as i64;
                let maximum = if schema["format"] == "int64" {
                    i64::MAX
                } else {
                    i32::MAX.into()
                };
                json!(if self.one_in(12) {
                    maximum
                } else {
                    minimum + self.random.i64(0..5)
                })
            }
            Some("number") => json!(f64::from(self.random.u32(1..100_000)) / 100.0),
            Some("boolean") => json!(self.random.bool()),
            Some("null") => Value::Null,
            _ => panic!("no value can be generated for {schema}"),
        }
    }

    fn object(&mut self, document: &Document, schema: &Value, known: &KnownIds) -> Value {
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.contains(&json!(name)));
        let mut fields = Map::new();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if is_required(name) || self.random.bool() {
                fields.insert(name.clone(), self.valid(document, schema, name, known));
            }
        }
        Value::Object(fields)
    }

    fn text(&mut self, schema: &Value, name: &str, known: &KnownIds) -> String {
        let is_random = self.one_in(12);
        if let Some(text) = self.random.choice(known.latest(name))
            && !is_random
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
        // A text that is generated from the whole pattern needs no anchors.
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
        let strategy = string_regex(pattern).unwrap();
        strategy.new_tree(&mut self.runner).unwrap().current()
    }

    /// Corrupts one part of a body: it is removed, or gets another type or an unusual size.
    pub(super) fn corrupt(&mut self, body: &mut Value) {
        let part = match body {
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
                *body = self.invalid_value();
                return;
            }
        };
        if let Some(inner) = part {
            self.corrupt(inner);
        }
    }

    fn invalid_value(&mut self) -> Value {
        let values = [
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
        values[self.below(values.len())].clone()
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}
