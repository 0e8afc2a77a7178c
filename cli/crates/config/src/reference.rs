//! The reference of all keys, `docs/configuration.md`, generated from the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::config_tree::{KeyPath, format_key_path};
use super::json_schema::json_schema;
use super::layers::NON_CONFIG_VARIABLES;

const INTRODUCTION: &str = include_str!("introduction.md");

/// Returns the text of `docs/configuration.md`.
#[must_use]
pub(crate) fn render_reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Other variables\n\n| Variable | Description |\n|---|---|\n");
    for (name, description) in NON_CONFIG_VARIABLES {
        // Writing to a String can't fail.
        let _ = writeln!(text, "| `{name}` | {description} |");
    }
    if let Some(sections) = json_schema().get("properties").and_then(Value::as_object) {
        for (name, section) in sections {
            write_section(&mut text, &vec![name.clone()], section);
        }
    }
    text
}

/// Writes one section: its description, its keys and its subsections.
fn write_section(text: &mut String, path: &KeyPath, section: &Value) {
    let Some(properties) = section.get("properties").and_then(Value::as_object) else {
        return;
    };
    let is_table = |schema: &Value| schema.get("properties").is_some();
    let _ = writeln!(text, "\n## `[{}]`\n", format_key_path(path));
    let _ = writeln!(text, "{}", description(section));
    let mut keys = properties
        .iter()
        .filter(|(_, schema)| !is_table(schema))
        .peekable();
    if keys.peek().is_some() {
        text.push_str("\n| Key | Type | Default | Description |\n|---|---|---|---|\n");
    }
    for (key, schema) in keys {
        let mut subpath = path.clone();
        subpath.push(key.clone());
        let _ = writeln!(
            text,
            "| `{key}` | {} | {} | {} |",
            escape_table_cell(&type_name(schema)),
            format_default(schema),
            escape_table_cell(&describe_key(schema)),
        );
    }
    for (key, schema) in properties.iter().filter(|(_, schema)| is_table(schema)) {
        let mut subpath = path.clone();
        subpath.push(key.clone());
        write_section(text, &subpath, schema);
    }
}

fn description(schema: &Value) -> &str {
    schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// Returns the description of a key, followed by that of each choice if it has choices.
fn describe_key(schema: &Value) -> String {
    let mut text = description(schema).to_owned();
    for (name, meaning) in choices(schema) {
        let _ = write!(text, "<br>`\"{name}\"`: {meaning}");
    }
    text
}

fn choices(schema: &Value) -> Vec<(&str, &str)> {
    let choices = schema.get("oneOf").and_then(Value::as_array);
    choices
        .into_iter()
        .flatten()
        .filter_map(|choice| Some((choice.get("const")?.as_str()?, description(choice))))
        .collect()
}

fn type_name(schema: &Value) -> String {
    if !choices(schema).is_empty() {
        return "Choice".to_owned();
    }
    schema
        .get("title")
        .or_else(|| schema.get("type"))
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned()
}

/// Returns the default value in TOML.
fn format_default(schema: &Value) -> String {
    match schema.get("default") {
        None => "none".to_owned(),
        Some(Value::Object(entries)) if Map::is_empty(entries) => "empty".to_owned(),
        // Strings, numbers and arrays of them are written equally in JSON and TOML.
        Some(value) => format!("`{value}`"),
    }
}

/// Returns the text, escaped for a table cell.
fn escape_table_cell(text: &str) -> String {
    text.replace('|', "\\|")
}
