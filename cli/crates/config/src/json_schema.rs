//! The JSON Schema of the configuration, and the list of its keys.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::config_tree::KeyPath;
use super::model::Config;

/// One key of the configuration.
#[derive(Debug, Clone)]
pub(super) struct ConfigKey {
    /// From the root to it.
    pub path: KeyPath,
    /// Its schema.
    pub schema: Map<String, Value>,
}

/// The JSON Schema of `dm.toml`, as `docs/dm.schema.json` holds it. Every key is
/// optional, and its default is noted.
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

/// The JSON Schema as text, indented, with a line feed at its end.
#[must_use]
pub fn json_schema_text() -> String {
    format!("{:#}\n", json_schema())
}

/// All keys in the order of the types, those without a value included.
pub(super) fn config_keys() -> Vec<ConfigKey> {
    let mut keys = Vec::new();
    collect_keys(&generate_schema(), &mut KeyPath::new(), &mut keys);
    keys
}

impl ConfigKey {
    /// True where it holds a secret.
    pub(crate) fn is_secret(&self) -> bool {
        let is_set = |mark: Option<&Value>| mark == Some(&Value::Bool(true));
        // The schema of an option may have that of its value as one of two.
        let choices = self.schema.get("anyOf").and_then(Value::as_array);
        is_set(self.schema.get("writeOnly"))
            || choices
                .into_iter()
                .flatten()
                .any(|choice| is_set(choice.get("writeOnly")))
    }
}

/// What schemars makes of the types.
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

/// The schema of a table's entries, if `schema` is one of a table with known
/// keys.
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

/// The schema of `T` in that of `Option<T>`, which allows null beside it.
fn unwrap_option_schema(schema: &Value) -> &Value {
    schema
        .get("anyOf")
        .and_then(Value::as_array)
        .and_then(|choices| choices.iter().find(|choice| properties(choice).is_some()))
        .unwrap_or(schema)
}

/// Makes the schema one of files: TOML has no null, no key is required, as the
/// defaults have them all, and each has its default noted.
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
        // Those of credentials are: they have no defaults.
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

/// Takes out what schemars adds for `None`.
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

/// Joins the lines of a doc comment: they are broken for the source's sake.
fn join_description_lines(schema: &mut Value) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
