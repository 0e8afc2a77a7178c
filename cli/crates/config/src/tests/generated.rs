//! `dm.toml`, the schema, the reference and the types agree.
//!
//! To make the generated files anew: `UPDATE_GENERATED=1 cargo test -p dm --lib
//! config::tests::generated`.

use std::path::{Path, PathBuf};

use super::TestProject;
use crate::{Config, json_schema, json_schema_text};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Compares a file of the repository with what it must be, or writes it.
fn assert_generated(file: &str, expected: &str) {
    let path = repository().join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let actual = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "{file} is not what the types say; make it anew with\n  \
         UPDATE_GENERATED=1 cargo test -p dm --lib config::tests::generated"
    );
}

#[test]
fn the_schema_is_that_of_the_types() {
    assert_generated("docs/dm.schema.json", &json_schema_text());
}

#[test]
fn the_reference_is_that_of_the_types() {
    assert_generated(
        "docs/configuration.md",
        &crate::reference::render_reference(),
    );
}

#[test]
fn every_key_is_documented_and_has_a_default_or_may_be_left_out() {
    let defaults = TestProject::new("").load_valid();
    let config = serde_json::to_value(&defaults.config).unwrap();
    for key in crate::json_schema::config_keys() {
        let name = key.path.join(".");
        let description = key.schema.get("description").and_then(|text| text.as_str());
        assert!(description.is_some_and(|text| text.len() > 10), "{name}");
        let pointer = format!("/{}", key.path.join("/"));
        let optional = config.pointer(&pointer).is_none();
        assert_eq!(optional, defaults.origin(&name).is_none(), "{name}");
    }
}

#[test]
fn the_projects_own_file_says_what_the_defaults_say() {
    let file = std::fs::read_to_string(repository().join("dm.toml")).unwrap();
    let defaults = TestProject::new("").load_valid().config;
    assert_eq!(TestProject::new(&file).load_valid().config, defaults);

    // A comment that begins without a space is a key that was commented out.
    let shown: String = file
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with([' ', ':']) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = TestProject::new(&shown).load_valid();
    assert_eq!(loaded.config, defaults);
    let from_file = loaded.effective_values(None, false).unwrap();
    let from_file = from_file
        .iter()
        .filter_map(|entry| entry.origin.as_ref())
        .filter(|origin| origin.to_string().starts_with("dm.toml:"))
        .count();
    assert!(
        from_file > 20,
        "only {from_file} keys were found in dm.toml"
    );
}

#[test]
fn the_schema_refuses_unknown_keys_in_every_table() {
    fn check(at: &str, schema: &serde_json::Value) {
        let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else {
            return;
        };
        assert_eq!(schema["additionalProperties"], false, "{at}");
        for (key, schema) in properties {
            check(&format!("{at}.{key}"), schema);
        }
    }
    check("", &json_schema());
}

#[test]
fn the_defaults_fill_the_whole_type() {
    let config: Config = TestProject::new("").load_valid().config;
    assert_eq!(config.services.all().len(), 7);
    let contract = [
        ("gateway", 8081, None),
        ("profile", 8091, Some("profile")),
        ("sales", 8092, Some("sales")),
        ("order", 8093, Some("orders")),
        ("inventory", 8094, Some("inventory")),
        ("finance", 8095, Some("finance")),
        ("wuphf", 8096, Some("notifications")),
    ];
    for (name, port, schema) in contract {
        let service = config.services.get(name).unwrap();
        assert_eq!(service.port.get(), port, "{name}");
        let actual = service.schema.as_ref().map(|schema| schema.as_str());
        assert_eq!(actual, schema, "{name}");
    }
}
