//! Checks that `dm.toml`, the schema, the reference and the types agree.
//!
//! To regenerate the files: `UPDATE_GENERATED=1 cargo test -p dm-config --lib tests::generated`.

use std::path::{Path, PathBuf};

use super::TestProject;
use crate::{Config, json_schema, json_schema_text};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Compares a file of the repository with its expected content, or writes it.
fn assert_generated(file: &str, expected: &str) {
    let path = repository().join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let actual = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "{file} is outdated; regenerate it with\n  \
         UPDATE_GENERATED=1 cargo test -p dm-config --lib tests::generated"
    );
}

#[test]
fn schema_file_matches_the_types() {
    assert_generated("docs/dm.schema.json", &json_schema_text());
}

#[test]
fn reference_file_matches_the_types() {
    assert_generated(
        "docs/configuration.md",
        &crate::reference::render_reference(),
    );
}

#[test]
fn every_key_has_a_description_and_a_default_or_is_optional() {
    let defaults = TestProject::new("").load_valid();
    let config = serde_json::to_value(&defaults.config).unwrap();
    for key in crate::json_schema::config_keys() {
        let name = key.path.join(".");
        let description = key.schema.get("description").and_then(|text| text.as_str());
        assert!(description.is_some_and(|text| text.len() > 10), "{name}");
        let pointer = format!("/{}", key.path.join("/"));
        let is_optional = config.pointer(&pointer).is_none();
        assert_eq!(is_optional, defaults.origin(&name).is_none(), "{name}");
    }
}

#[test]
fn repository_dm_toml_equals_the_defaults() {
    let file = std::fs::read_to_string(repository().join("dm.toml")).unwrap();
    let defaults = TestProject::new("").load_valid().config;
    assert_eq!(TestProject::new(&file).load_valid().config, defaults);

    // A comment that begins without a space is a commented-out key.
    let uncommented: String = file
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with([' ', ':']) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = TestProject::new(&uncommented).load_valid();
    assert_eq!(loaded.config, defaults);
    let values = loaded.effective_values(None, false).unwrap();
    let count = values
        .iter()
        .filter_map(|entry| entry.origin.as_ref())
        .filter(|origin| origin.to_string().starts_with("dm.toml:"))
        .count();
    assert!(count > 20, "only {count} keys were found in dm.toml");
}

#[test]
fn schema_rejects_unknown_keys_in_every_table() {
    fn check(path: &str, schema: &serde_json::Value) {
        let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else {
            return;
        };
        assert_eq!(schema["additionalProperties"], false, "{path}");
        for (key, schema) in properties {
            check(&format!("{path}.{key}"), schema);
        }
    }
    check("", &json_schema());
}

#[test]
fn defaults_contain_all_services_with_their_ports_and_schemas() {
    let config: Config = TestProject::new("").load_valid().config;
    assert_eq!(config.services.all().len(), 7);
    let expected = [
        ("gateway", 8081, None),
        ("profile", 8091, Some("profile")),
        ("sales", 8092, Some("sales")),
        ("order", 8093, Some("orders")),
        ("inventory", 8094, Some("inventory")),
        ("finance", 8095, Some("finance")),
        ("wuphf", 8096, Some("notifications")),
    ];
    for (name, port, schema) in expected {
        let service = config.services.get(name).unwrap();
        assert_eq!(service.port.get(), port, "{name}");
        let actual = service.schema.as_ref().map(|schema| schema.as_str());
        assert_eq!(actual, schema, "{name}");
    }
}
