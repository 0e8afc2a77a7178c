//! The JSON Schema of the configuration, and the list of its keys.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::config_tree::KeyPath;
use super::model::Config;

/// A key of the configuration.
#[derive(Debug, Clone)]
pub(super) struct ConfigKey {
    /// The path from the root.
    pub path: KeyPath,
    /// Its schema.
    pub schema: Map<String, Value>,
}

/// Returns the JSON Schema of `dm.toml`, the content of `docs/dm.schema.json`. Every key is
/// optional and has its default.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = generate_schema();
    let defaults = super::defaults::defaults_tree().value.to_json();
    complete_schema(&mut schema, Some(&defaults));
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), json!("dm.toml"));
    }
    schema
}

/// Returns the JSON Schema as indented text with a trailing line feed.
#[must_use]
pub fn json_schema_text() -> String {
    format!("{:#}\n", json_schema())
}

/// Returns all keys in the order of the types, including those without a value.
pub(super) fn config_keys() -> Vec<ConfigKey> {
    let mut keys = Vec::new();
    collect_keys(&generate_schema(), &mut KeyPath::new(), &mut keys);
    keys
}

impl ConfigKey {
    /// Returns whether the value is a secret.
    pub(crate) fn is_secret(&self) -> bool {
        let is_true = |flag: Option<&Value>| flag == Some(&Value::Bool(true));
        // The schema of an option may contain that of its value as one of two alternatives.
        let choices = self.schema.get("anyOf").and_then(Value::as_array);
        is_true(self.schema.get("writeOnly"))
            || choices
                .into_iter()
                .flatten()
                .any(|choice| is_true(choice.get("writeOnly")))
    }
}

/// Returns the schema that schemars generates from the types.
fn generate_schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
    });
    let mut generator = settings.into_generator();
    let schema = Config::json_schema(&mut generator);
    let mut root = Map::new();
    root.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    if let Value::Object(entries) = schema.to_value() {
        root.extend(entries);
    }
    Value::Object(root)
}

/// Returns the schemas of a table's keys, if `schema` is that of a table with known keys.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

fn collect_keys(schema: &Value, path: &mut KeyPath, keys: &mut Vec<ConfigKey>) {
    match (properties(unwrap_option_schema(schema)), schema.as_object()) {
        (Some(properties), _) => {
            for (key, schema) in properties {
                path.push(key.clone());
                collect_keys(schema, path, keys);
                path.pop();
            }
        }
        (None, Some(schema)) => keys.push(ConfigKey {
            path: path.clone(),
            schema: schema.clone(),
        }),
        (None, None) => {}
    }
}

/// Returns the schema of `T` from that of `Option<T>`, which also allows null.
fn unwrap_option_schema(schema: &Value) -> &Value {
    schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|choices| choices.iter().find(|choice| properties(choice).is_some()))
        .unwrap_or(schema)
}

/// Converts the schema of the types into one of files: without null, which TOML does not have,
/// with the defaults, and without required keys, because the defaults contain them.
fn complete_schema(schema: &mut Value, default: Option<&Value>) {
    strip_null(schema);
    join_description_lines(schema);
    let Some(entries) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(properties)) = entries.get_mut("properties") {
        for (key, schema) in properties {
            complete_schema(schema, default.and_then(|default| default.get(key)));
        }
        // The keys of credentials stay required, because they have no defaults.
        if default.is_some() {
            entries.remove("required");
        }
    } else if let Some(default) = default {
        entries.insert("default".into(), default.clone());
    }
    if let Some(Value::Array(choices)) = entries.get_mut("oneOf") {
        choices.iter_mut().for_each(join_description_lines);
    }
}

/// Removes the null that schemars adds for `None`.
fn strip_null(schema: &mut Value) {
    let Some(entries) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = entries.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            entries.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = entries.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            entries.remove("anyOf");
            for (key, value) in only {
                entries.entry(key).or_insert(value);
            }
        }
    }
}

/// Joins the lines of a doc comment, which are wrapped only in the source.
fn join_description_lines(schema: &mut Value) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
